"""One trial: a task in a dialect under a variant of the prompts, and its record run again under each policy."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.real_model.tasks import Exam, Task
from benchmarks.real_model.variants import told
from rlm import RLM, Budget, Config
from rlm.core.events import Advised, ExecEnd
from rlm.core.interfaces import Backend
from rlm.sinks.memory import MemorySink

POLICIES = ("strict", "relaxed", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a trial is made with, but for task, seed, dialect and variant."""

    model: str | Backend
    config: Config
    """The server and the caps are in it."""
    log_dir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of one trial."""

    variant: str
    dialect: str
    task: str
    seed: int
    right: bool
    answer: str
    """The beginning of the answer."""
    status: str
    limit: str | None
    turns: int
    input_tokens: int
    output_tokens: int
    seconds: float
    advice: tuple[str, ...]
    """What the model was advised of."""
    refused: dict[str, int]
    """Cells that raised under a policy and not without one, by policy."""
    record: str

    def line(self) -> bytes:
        """The trial as a line of JSON."""
        return msgspec.json.encode(asdict(self)) + b"\n"


def caps(max_turns: int, timeout_s: float | None) -> Budget:
    """The budget of each trial."""
    return Budget(max_turns=max_turns, max_depth=1, token_budget=None, timeout_s=timeout_s)


def attempt(setting: Setting, exam: Exam, task: Task, *, seed: int, dialect: str, variant: str) -> Trial:
    """Ask one task, and run its cells again under each policy."""
    sink = MemorySink()
    config = msgspec.structs.replace(setting.config, dialect=dialect, log_dir=str(setting.log_dir))
    begun = time.monotonic()
    with told(variant), RLM(setting.model, config=config, sinks=[sink]) as rlm:
        result = rlm.completion(task.prompt, context=task.context)
    return Trial(
        variant=variant,
        dialect=dialect,
        task=task.name,
        seed=seed,
        right=exam.is_right(task, result.response),
        answer=result.response[:200],
        status=result.status,
        limit=result.limit,
        turns=result.usage.turns,
        input_tokens=result.usage.input_tokens,
        output_tokens=result.usage.output_tokens,
        seconds=round(time.monotonic() - begun, 1),
        advice=tuple(f"{event.body.name} {event.body.way}" for event in sink.events if isinstance(event.body, Advised)),
        refused=refusals(setting, result.trajectory, task.context),
        record=str(result.trajectory),
    )


def refusals(setting: Setting, record: Path | None, context: Any) -> dict[str, int]:
    """How many cells of a record raise under each policy that don't raise without one; no model is called."""
    assert record is not None, "a completion of RLM has a record"
    errors = {policy: _errors(setting, record, context, policy) for policy in POLICIES}
    return {
        policy: sum(
            1 for with_it, without in zip(errors[policy], errors["off"], strict=False) if with_it and not without
        )
        for policy in POLICIES
    }


def _errors(setting: Setting, record: Path, context: Any, policy: str) -> list[bool]:
    """Whether each cell of a record raises, run again in order."""
    sink = MemorySink()
    overrides = {"environment": "local", "local.policy": policy}
    with RLM(setting.model, config=setting.config, sinks=[sink]) as rlm:
        rlm.replay(record, context=context, overrides=overrides)
    return [event.body.error is not None for event in sink.events if isinstance(event.body, ExecEnd)]
