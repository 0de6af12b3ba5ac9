"""Shows a run while it runs, on a stream for people: one line that changes on a terminal, else a line for each step.

Whatever comes from a model or a guest is made plain first.
"""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING

from rlm.core.events import (
    Advised,
    CompletionStart,
    Controlled,
    ExecEnd,
    ExecStart,
    HookEnded,
    Limit,
    ModelEnd,
    ModelRetry,
    SandboxReady,
    TaskEnd,
    TaskStart,
    TimePassed,
    ToolStart,
    TurnStart,
    Warned,
)
from rlm.core.plain import one_line
from rlm.core.time_notes import time_note
from rlm.trajectory.fold import LiveRun

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rlm.core.events import Event
    from rlm.trajectory.states import RunState

REFRESH_PER_SECOND = 8
_TEXT_CHARS = 200


class StepLines:
    """A line for each step of a run."""

    on_loop = True

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._run = LiveRun()

    def write(self, event: Event) -> None:
        self._run.add(event)
        text = step_text(event)
        if text:
            seconds = event.at - self._run.state.started_at
            self._stream.write(f"{seconds:7.1f} s  {text}\n")
            self._stream.flush()

    def close(self) -> None:
        """Leave the stream to its owner."""


class TaskLines:
    """A line for each task of a list that begins or ends."""

    on_loop = True

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._began_at: float | None = None

    def write(self, event: Event) -> None:
        self._began_at = event.at if self._began_at is None else self._began_at
        if text := task_text(event) or notice_text(event):
            self._stream.write(f"{event.at - self._began_at:7.1f} s  {text}\n")
            self._stream.flush()

    def close(self) -> None:
        """Leave the stream to its owner."""


class LiveLine:
    """One line that follows a run, with its last notice above; the stream must be a terminal."""

    on_loop = True

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._run = LiveRun()
        self._begun_at = time.monotonic()
        self._console = Console(file=stream, highlight=False, markup=False, soft_wrap=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._line,
            refresh_per_second=REFRESH_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def write(self, event: Event) -> None:
        self._run.add(event)
        notice = notice_text(event)
        if notice:
            self._console.print(notice)

    def close(self) -> None:
        """Take the line away; idempotent."""
        self._live.stop()

    def _line(self) -> Any:
        from rich.spinner import Spinner
        from rich.text import Text

        elapsed_s = time.monotonic() - self._begun_at
        return Spinner("dots", Text(status_text(self._run.state, elapsed_s), overflow="ellipsis", no_wrap=True))


def status_text(run: RunState, elapsed_s: float) -> str:
    """Turn, depth, tokens, cost, sub-calls under way and time, on one line."""
    parts = [f"turn {run.turns}" if run.turns else "starting"]
    if run.paused_by:
        parts.append("paused")
    if run.depth:
        parts.append(f"depth {run.depth}")
    parts.append(f"{run.tokens:,} tokens")
    if run.cost_usd is not None:
        parts.append(f"${run.cost_usd:.4f}")
    if run.open_subcalls:
        parts.append(f"{run.open_subcalls} sub-calls")
    return " · ".join([*parts, f"{elapsed_s:.0f} s"])


def notice_text(event: Event) -> str:
    """What a user should know at once: warnings, limits, retries, choices; empty for anything else."""
    match event.body:
        case SandboxReady(chosen=True, environment=name, passed_over=passed_over):
            return one_line(choice_text(name, passed_over), _TEXT_CHARS)
        case Warned(message=message):
            return f"warning: {one_line(message, _TEXT_CHARS)}"
        case TimePassed(elapsed_s=spent_s, timeout_s=limit_s, cost_usd=cost):
            return time_note("the run", spent_s, limit_s, cost)
        case HookEnded(proceed=False) as hook:
            return f"hook {one_line(hook.name, 80)} denied {hook.point}: {one_line(hook.message, _TEXT_CHARS)}"
        case Controlled() as act:
            return one_line(act.words, _TEXT_CHARS)
        case Limit(name=name, state=state, message=message):
            return f"limit {one_line(name, 40)} {one_line(state, 20)}: {one_line(message, _TEXT_CHARS)}"
        case ModelRetry() as retry:
            return f"attempt {retry.attempt} failed, next in {retry.wait_s:.1f} s: {one_line(retry.error, _TEXT_CHARS)}"
        case ExecEnd(state_reset=True):
            return "the sandbox was killed and starts again: variables are lost"
    return ""


def choice_text(environment: str, passed_over: Mapping[str, str]) -> str:
    """Which sandbox was chosen, and why those before it were not."""
    reasons = "".join(f"; not {name}: {why}" for name, why in passed_over.items())
    return f"no sandbox is set: using {environment} (choose another with --environment){reasons}"


def task_text(event: Event) -> str:
    """The beginning or the end of a task in words; empty for other events."""
    match event.body:
        case TaskStart() as start:
            how = f", resumes {start.resumes[:8]}" if start.resumes else ""
            again = f", attempt {start.attempt}" if start.attempt > 1 else ""
            return f"{one_line(start.task, 64)}: run {start.run[:8]}{how}{again}"
        case TaskEnd() as end:
            return f"{one_line(end.task, 64)}: {end.state}" + (
                f": {one_line(end.error, _TEXT_CHARS)}" if end.error else ""
            )
    return ""


def step_text(event: Event) -> str:
    """One step in words; empty for events that aren't a step of their own."""
    match event.body:
        case SandboxReady() as sandbox:
            return f"sandbox {one_line(sandbox.environment, 40)}: {one_line(', '.join(sandbox.layers), _TEXT_CHARS)}"
        case CompletionStart() as start:
            return f"completion at depth {start.depth}: {one_line(start.prompt, 80)}"
        case TurnStart(turn=turn):
            return f"turn {turn}"
        case ModelEnd() as call:
            said = call.error or f"{call.usage.input_tokens:,} tokens in, {call.usage.output_tokens:,} out"
            return f"  model: {one_line(said, _TEXT_CHARS)}"
        case ExecStart() as cell:
            return f"  cell {cell.cell}: {one_line(cell.code, 80)}"
        case ExecEnd() as cell:
            return f"  cell {one_line(cell.status, 20)} after {cell.duration_s:.2f} s, {cell.output_chars:,} characters"
        case Advised(name=name, message=message):
            return f"  advice {one_line(name, 40)}: {one_line(message, _TEXT_CHARS)}"
        case ToolStart(name=name):
            return f"  tool {one_line(name, 60)}"
    return notice_text(event)
