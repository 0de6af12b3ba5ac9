"""Random trees whose model answers by what it is asked alone, so that a run that was cut off and resumed can be held
against one that wasn't; and records cut off anywhere, as a kill leaves them."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec

from rlm.backends.estimate import estimate_usage
from rlm.core.config import Config
from rlm.core.exceptions import BadRequestError, ContextOverflowError
from rlm.core.texts import change_texts
from rlm.runtime import opening
from rlm.runtime.models import BackendPool
from rlm.runtime.request import Request
from rlm.runtime.resume import resume_request
from rlm.runtime.runs import complete
from rlm.runtime.wiring import Parts
from tests.support.programs import ProgramSandbox
from tests.support.tree_runs import ping
from tests.support.trees import MARK, Plan, TreeModel, draw_plan, first_mark
from tests.support.virtual_time import run_virtually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rlm.core.config import Mask
    from rlm.core.outcome import RLMResult
    from rlm.core.types import ModelReply, ModelRequest


class MarkMasker:
    """Masks what nearly every text of these trees has."""

    def mask(self, text: str) -> str:
        return MARK.sub("[MASKED]", text)

    def mask_value(self, value: Any) -> Any:
        return change_texts(value, self.mask)

    def stream(self) -> WholeText:
        return WholeText(self)


class WholeText:
    """Holds everything back to the end."""

    def __init__(self, masker: MarkMasker) -> None:
        self._masker = masker
        self._text = ""

    def feed(self, chunk: str) -> str:
        self._text += chunk
        return ""

    def close(self) -> str:
        return self._masker.mask(self._text)


class SteadyModel(TreeModel):
    """The same request gets the same reply, whenever it comes; keeps count of what it was asked."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, random.Random(plan.seed))
        self.asked: Counter[str] = Counter()

    async def _attempt(self, request: ModelRequest) -> ModelReply:
        texts = [message.content for message in request.messages[1:]]
        self.asked[asked := json.dumps(texts)] += 1
        rng = random.Random(f"{self._plan.seed} {asked}")
        await asyncio.sleep(rng.random() * self._plan.latency_s)
        self._rng = rng
        if rng.random() < self._plan.final_faults:
            raise BadRequestError("no")
        if estimate_usage(request, "").input_tokens > (self._plan.window_tokens or 10**9):
            raise ContextOverflowError("too long")
        first_mark(request)
        return self._book(request, *self._reply(request))

    def new_mark(self) -> str:
        return f"#{self._rng.randint(1, 10**9)}#"

    def _program(self, mark: str) -> list[list[Any]]:
        steps = super()._program(mark)
        return [*steps[:-1], ["join"], steps[-1]]

    def _prompt(self) -> str:
        if self._rng.random() < self._plan.repeats:
            return f"ask #{self._rng.randint(1, 3)}#"
        return f"ask {self.new_mark()} " + "x" * self._rng.choice([0, 0, 300, 6_000])


def steady_plan(seed: int) -> Plan:
    """A tree that nothing but its own turns bounds, for a cap falls where chance has it."""
    plan = draw_plan(random.Random(seed))
    budget = _uncapped(plan)
    return replace(plan, budget=budget, max_sandboxes=10_000, passing_faults=0.0, cancel_at=(), cache=False, width=3)


def _uncapped(plan: Plan) -> Any:
    none = dict.fromkeys(("token_budget", "cost_budget_usd", "tool_budget", "subcall_budget", "timeout_s"))
    depth = min(2, plan.budget.max_depth)
    return msgspec.structs.replace(plan.budget, **none, max_depth=depth, max_turns=min(3, plan.budget.max_turns))


@dataclass(kw_only=True)
class Made:
    """A run after its end, and what its model was asked."""

    result: RLMResult
    asked: Counter[str]


def made(plan: Plan, log_dir: Path, *, masked: bool) -> Made:
    """A run from its beginning."""
    config = Config(
        model="main",
        sub_model="sub",
        budget=plan.budget,
        max_sandboxes=plan.max_sandboxes,
        max_output_tokens=plan.max_output_tokens,
        log_dir=str(log_dir),
        memoise=plan.memoise,
        mask=_level(masked),
    )
    request = Request(prompt="root #7#", context="some data", config=config)
    return run_virtually(_made(plan, request, masked=masked))


def resumed(plan: Plan, path: Path, *, masked: bool) -> Made:
    """A run that resumes the record at `path`."""
    request = resume_request(path, _present(plan, masked=masked))
    return run_virtually(_made(plan, request, masked=masked))


def _present(plan: Plan, *, masked: bool) -> Config:
    """The settings of the user, who allows what the run had."""
    return Config(
        budget=plan.budget,
        max_sandboxes=plan.max_sandboxes,
        max_output_tokens=plan.max_output_tokens,
        mask=_level(masked),
    )


async def _made(plan: Plan, request: Request, *, masked: bool) -> Made:
    model = SteadyModel(plan)
    sandbox = ProgramSandbox()
    sandboxes = dict.fromkeys(("auto", "local"), sandbox)
    whole = Parts(backends=BackendPool(model), tools=(ping,), sinks=(), sandboxes=sandboxes)
    with _masking(masked):
        result = await complete(whole, request)
    await whole.aclose()
    return Made(result=result, asked=model.asked)


def _level(masked: bool) -> Mask:
    return "secrets" if masked else "off"


@contextmanager
def _masking(masked: bool) -> Iterator[None]:
    if not masked:
        yield
        return
    with patch.object(opening, "masker", lambda _level: MarkMasker()):
        yield


def cut(whole: bytes, exact: bytes | None, at: int, path: Path) -> list[dict[str, Any]]:
    """Write what a kill after `at` bytes leaves of a record, and return its events."""
    path.write_bytes(whole[:at])
    if exact is not None:
        path.with_suffix(".exact").write_bytes(exact)
    path.with_suffix(".context").write_bytes(b"some data")
    return [json.loads(line) for line in whole[:at].splitlines(keepends=True) if line.endswith(b"\n")]


def open_calls(events: list[dict[str, Any]]) -> int:
    """Model calls that were under way; one that shares the reply of another is sent to nobody."""
    starts = (event for event in events if event["type"] == "model.start")
    started = {event["span"] for event in starts if event["body"]["max_output_tokens"]}
    return len(started - {event["span"] for event in events if event["type"] == "model.end"})
