"""Writes a large trajectory as a real run would: `python -m benchmarks.big_log FOLDER [--events N] [--run ID]`.

The same arguments give the same events. A run of turns; in each a cell that asks many sub-calls, some of which fail,
and every few turns a child completion with turns of its own. An event takes about 760 bytes, so 100,000 take 76 MB.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from rlm.core.events import (
    Body,
    CompletionEnd,
    CompletionStart,
    Event,
    ExecEnd,
    ExecOutput,
    ExecStart,
    Limit,
    MessageAdded,
    ModelEnd,
    ModelStart,
    RunStart,
    SandboxReady,
    TurnEnd,
    TurnStart,
    encode,
)
from rlm.core.notes import ContextNote
from rlm.core.types import ExecError, Final, RunUsage, TokenUsage
from rlm.trajectory.writer import TrajectoryWriter

RUN = "b1607e57" * 4
SUBCALLS = 120
WORDS = ("budget", "ledger", "span", "cell", "turn", "answer", "invoice", "region", "north", "late", "error", "ok")
CODE = """parts = context.split("\\n\\n")
replies = llm_query_batched([f"Classify: {part}" for part in parts])
print(len(replies))"""


class BigLog:
    """The events of one run, about as many as are asked for."""

    def __init__(self, run: str = RUN, *, seed: int = 1) -> None:
        self._run = run
        self._random = random.Random(seed)
        self._seq = 0
        self._at = 1_780_000_000.0
        self._spans = 0
        self._tokens = 0

    def events(self, count: int) -> Iterator[Event]:
        """Yield at most a turn's events more than `count`."""
        root = self._span()
        budget = {"token_budget": 100_000_000, "cost_budget_usd": 500.0, "subcall_budget": 200_000, "max_turns": None}
        start = RunStart(
            version=1, rlm_version="0", model="demo", sub_model="demo-mini", environment="local", budget=budget
        )
        yield self._event(root, None, start)
        yield self._event(root, None, SandboxReady(environment="local", layers=["seccomp", "landlock"]))
        yield self._event(root, None, self._begin(0))
        turn = 0
        while self._seq < count:
            turn += 1
            yield from self._turn(root, turn, children=turn % 5 == 0)
        yield self._event(root, None, Limit(name="token_budget", state="near", message="80 % of the tokens are used"))
        yield self._event(root, None, self._end(turn))

    def _turn(self, parent: str, number: int, *, children: bool) -> Iterator[Event]:
        span = self._span()
        yield self._event(span, parent, TurnStart(turn=number))
        yield from self._call(span, "turn", None)
        yield from self._cell(span, number, children=children)
        yield self._event(parent, None, MessageAdded(role="user", content=self._text(60)))
        yield self._event(span, parent, TurnEnd(turn=number))

    def _cell(self, parent: str, number: int, *, children: bool) -> Iterator[Event]:
        span = self._span()
        yield self._event(span, parent, ExecStart(cell=number, code=CODE))
        for _ in range(SUBCALLS):
            yield from self._call(span, "llm_query", f"Classify: {self._text(120)}")
        if children:
            yield from self._child(span)
        yield self._event(span, parent, ExecOutput(text=self._text(40)))
        failed = number % 7 == 0
        error = ExecError(kind="KeyError", message="'north'", traceback="KeyError: 'north'") if failed else None
        status = "error" if failed else "ok"
        yield self._event(
            span, parent, ExecEnd(status=status, output_chars=280, duration_s=4.2, error=error, changed=["replies"])
        )

    def _child(self, parent: str) -> Iterator[Event]:
        span = self._span()
        yield self._event(span, parent, self._begin(1))
        for number in (1, 2):
            turn = self._span()
            yield self._event(turn, span, TurnStart(turn=number))
            yield from self._call(turn, "turn", None)
            cell = self._span()
            yield self._event(cell, turn, ExecStart(cell=number, code="print(len(context))"))
            final = Final(value=3, text="3") if number == 2 else None
            yield self._event(cell, turn, ExecEnd(status="ok", output_chars=0, duration_s=0.01, final=final))
            yield self._event(turn, span, TurnEnd(turn=number))
        yield self._event(span, parent, self._end(2))

    def _call(self, parent: str, purpose: str, prompt: str | None) -> Iterator[Event]:
        span = self._span()
        model = "demo" if prompt is None else "demo-mini"
        yield self._event(
            span,
            parent,
            ModelStart(model=model, purpose=purpose, max_output_tokens=8192, input_tokens_estimate=400, prompt=prompt),
        )
        if self._random.random() < 0.01:
            yield self._event(span, parent, ModelEnd(error="RateLimitError: 429 after all retries"))
            return
        usage = TokenUsage(input_tokens=self._random.randint(100, 900), output_tokens=self._random.randint(5, 200))
        self._tokens += usage.total_tokens
        cost_usd = usage.total_tokens * 2e-6
        yield self._event(span, parent, ModelEnd(text=self._text(20), usage=usage, finish="stop", cost_usd=cost_usd))

    def _begin(self, depth: int) -> CompletionStart:
        prompt = f"Which region is late? {self._text(12)}"
        context = ContextNote(kind="text", size_bytes=1 << 20)
        return CompletionStart(depth=depth, prompt=prompt, model="demo", dialect="tools", context=context)

    def _end(self, turns: int) -> CompletionEnd:
        usage = RunUsage(input_tokens=self._tokens, turns=turns, depth_reached=1)
        return CompletionEnd(
            status="completed", response="north", duration_s=9.0, usage=usage, cost_usd=self._tokens * 2e-6
        )

    def _event(self, span: str, parent: str | None, body: Body) -> Event:
        self._at += self._random.random() * 0.02
        event = Event(seq=self._seq, at=self._at, run=self._run, span=span, parent=parent, type=body.TYPE, body=body)
        self._seq += 1
        return event

    def _span(self) -> str:
        self._spans += 1
        return f"{self._spans:016x}"

    def _text(self, words: int) -> str:
        return " ".join(self._random.choices(WORDS, k=words))


def write_big_log(log_dir: Path, *, events: int = 100_000, run: str = RUN) -> Path:
    """Write a run of about that many events, and return its file."""
    writer = TrajectoryWriter(log_dir, run)
    try:
        for event in BigLog(run).events(events):
            writer.write(event, encode(event))
    finally:
        writer.close()
    return writer.path


def main() -> None:
    """Write one and say where."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.big_log", description="Write a large trajectory.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--run", default=RUN, metavar="ID")
    options = parser.parse_args()
    path = write_big_log(options.folder, events=options.events, run=options.run)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
