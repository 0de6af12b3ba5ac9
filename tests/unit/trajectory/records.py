"""Small records for the tests of what reads them: events by name, whole runs, and files as the writer makes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rlm.core.events import (
    Body,
    CompletionEnd,
    CompletionStart,
    Event,
    ExecEnd,
    ExecOutput,
    ExecStart,
    MessageAdded,
    ModelEnd,
    ModelStart,
    RunStart,
    ToolEnd,
    ToolStart,
    TurnEnd,
    TurnStart,
    Warned,
    encode,
)
from rlm.core.notes import ContextNote
from rlm.core.types import ExecError, RunUsage, TokenUsage, ToolCall
from rlm.trajectory.writer import TrajectoryWriter

RUN = "ab" * 16
USAGE = TokenUsage(input_tokens=10, output_tokens=5)


def begin(depth: int = 0, prompt: str = "how many?") -> CompletionStart:
    return CompletionStart(
        depth=depth, prompt=prompt, model="demo/large", dialect="tools", context=ContextNote(kind="none")
    )


def end(status: str = "completed", error: str | None = None) -> CompletionEnd:
    return CompletionEnd(status=status, response="three", duration_s=1.5, usage=RunUsage(), error=error)  # type: ignore[arg-type]


def ask(purpose: str = "turn", prompt: str | None = None) -> ModelStart:
    return ModelStart(model="demo/small", purpose=purpose, max_output_tokens=9, input_tokens_estimate=9, prompt=prompt)


def answer(text: str = "x", cost_usd: float | None = 0.25, error: str | None = None) -> ModelEnd:
    return ModelEnd(text=text, usage=USAGE, cost_usd=cost_usd, error=error)


CALL = ToolCall(id="c1", name="execute_code", arguments='{"code": "1"}')
START = RunStart(
    version=1, rlm_version="0", model="demo/large", sub_model="s", environment="local", budget={"token_budget": 100}
)
STEPS: list[tuple[str, str | None, Body]] = [
    ("r", None, START),
    ("r", None, begin()),
    ("r", None, MessageAdded(role="system", content="Be exact.")),
    ("r", None, MessageAdded(role="user", content="how many?")),
    ("t1", "r", TurnStart(turn=1)),
    ("m1", "t1", ask()),
    ("m1", "t1", ModelEnd(text="Look", tool_calls=[CALL], usage=USAGE, cost_usd=0.25)),
    ("c1", "t1", ExecStart(cell=1, code="print('Größe')")),
    ("q1", "c1", ask("llm_query", "first part")),
    ("q2", "c1", ask("llm_query", "second part")),
    ("q1", "c1", answer()),
    ("q2", "c1", answer(error="RateLimitError: 429")),
    ("k", "c1", begin(1, "a child")),
    ("kt", "k", TurnStart(turn=1)),
    ("km", "kt", ask()),
    ("km", "kt", answer("child's answer")),
    ("kt", "k", TurnEnd(turn=1)),
    ("k", "c1", end()),
    ("c1", "t1", ExecOutput(text='a "quoted"\nline')),
    (
        "c1",
        "t1",
        ExecEnd(
            status="error",
            output_chars=9,
            duration_s=0.1,
            error=ExecError(kind="KeyError", message="'n'", traceback="t"),
        ),
    ),
    ("o", "t1", ToolStart(name="read_file", arguments={"path": "a.txt"}, caller="model")),
    ("o", "t1", ToolEnd(result="ok")),
    ("r", None, MessageAdded(role="tool", content="seen", tool_call_id="c1")),
    ("t1", "r", TurnEnd(turn=1)),
    ("r", None, Warned(message="take care")),
    ("r", None, end()),
]
"""A run with a failing cell that asks two sub-calls and a child, one of which fails."""


def events(steps: Iterable[tuple[str, str | None, Body]] = STEPS, run: str = RUN, at: float = 100.0) -> list[Event]:
    return [
        Event(seq=seq, at=at + seq, run=run, span=span, parent=parent, type=body.TYPE, body=body)
        for seq, (span, parent, body) in enumerate(steps)
    ]


def write(log_dir: Path, made: Iterable[Event] | None = None, run: str = RUN, *, key: bytes | None = None) -> Path:
    """A closed record, as the writer makes it."""
    writer = TrajectoryWriter(log_dir, run, key)
    for event in events(run=run) if made is None else made:
        writer.write(event, encode(event))
    writer.close()
    return writer.path
