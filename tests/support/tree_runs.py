"""Grows one random tree through the real runtime, over the model of `trees` and the sandbox of `programs`."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm import tool
from rlm.core.budget import Ledger
from rlm.core.config import Config
from rlm.core.run import Run
from rlm.runtime.models import BackendPool
from rlm.runtime.opening import open_run
from rlm.runtime.request import Request
from rlm.runtime.runs import to_the_end
from rlm.runtime.wiring import Parts
from tests.support.programs import ProgramSandbox
from tests.support.trees import Plan, TreeModel
from tests.support.virtual_time import run_virtually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rlm.core.config import Mask
    from rlm.core.events import Event
    from rlm.core.outcome import RLMResult
    from rlm.core.types import ModelReply


@dataclass(kw_only=True)
class Grown:
    """A tree after its end."""

    plan: Plan
    result: RLMResult
    events: list[Event]
    model: TreeModel
    sandbox: ProgramSandbox
    ledger: Ledger
    run: Run
    took_s: float
    """In virtual time."""
    left_running: list[str] = field(default_factory=list)


class Watcher:
    """A sink that keeps every event, and cancels the run where the plan says so."""

    def __init__(self, plan: Plan) -> None:
        self.events: list[Event] = []
        self.cancel: Callable[[], None] | None = None
        self._delays = dict(plan.cancel_at)

    def write(self, event: Event) -> None:
        self.events.append(event)
        if self.cancel is not None and event.seq in self._delays:
            asyncio.get_running_loop().call_later(self._delays[event.seq], self.cancel)

    def close(self) -> None:
        return


class Replies:
    """A cache on disk that is none."""

    def __init__(self) -> None:
        self._kept: dict[str, ModelReply] = {}

    def get(self, key: str) -> ModelReply | None:
        return self._kept.get(key)

    def put(self, key: str, reply: ModelReply) -> None:
        self._kept[key] = reply


@tool(reads_only=True)
async def ping(text: str) -> str:
    """Answer after a moment, or refuse."""
    await asyncio.sleep(0.01)
    if text.endswith("3#"):
        raise ValueError("not that one")
    return f"pong {text}"


def grow(plan: Plan, log_dir: Path, *, mask: Mask = "secrets") -> Grown:
    """Grow the tree of `plan` to its end; there is nothing in it to mask.

    Raises:
        Stuck: it never ends.
    """
    return run_virtually(_grow(plan, log_dir, mask))


async def _grow(plan: Plan, log_dir: Path, mask: Mask) -> Grown:
    loop = asyncio.get_running_loop()
    model = TreeModel(plan, random.Random(plan.seed))
    sandbox = ProgramSandbox(open_s=plan.sandbox_s, close_s=plan.sandbox_s)
    sink = Watcher(plan)
    whole = Parts(
        backends=BackendPool(model), tools=(ping,), sinks=(sink,), sandboxes={"auto": sandbox}, replies=Replies()
    )
    sink.cancel = whole.cancel
    with whole.in_progress():
        opened = await open_run(whole, _request(plan, model, log_dir, mask))
        result = await to_the_end(opened)
    took_s = loop.time()
    left = [repr(task) for task in asyncio.all_tasks() - {asyncio.current_task()} - whole.closing]
    await whole.aclose()
    return Grown(
        plan=plan,
        result=result,
        events=sink.events,
        model=model,
        sandbox=sandbox,
        ledger=opened.task.scope.ledger,
        run=opened.run,
        took_s=took_s,
        left_running=left,
    )


def _request(plan: Plan, model: TreeModel, log_dir: Path, mask: Mask) -> Request:
    config = Config(
        model="main",
        sub_model="sub",
        budget=plan.budget,
        max_sandboxes=plan.max_sandboxes,
        max_output_tokens=plan.max_output_tokens,
        log_dir=str(log_dir),
        memoise=plan.memoise,
        cache=plan.cache,
        mask=mask,
    )
    return Request(prompt=f"root {model.new_mark()}", context="some data", config=config)
