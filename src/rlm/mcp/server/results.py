"""What tools answer, as text: short, plain, and with the way to see more where something was left out."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from rlm.core.contexts.context import clip
from rlm.core.dialects import shorten
from rlm.core.loop import shown
from rlm.core.plain import plain
from rlm.core.texts import escape_surrogates
from rlm.mcp.server.records import uri_of
from rlm.mcp.server.rounds import ROUND_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rlm.core.contexts.context import Context
    from rlm.core.outcome import RLMResult
    from rlm.core.types import ExecResult, Json
    from rlm.mcp.server.session import Delivery, HostSession
    from rlm.trajectory.receipts import Verification

    Mask = Callable[[str], str]

_VALUES_AT_ONCE = 20
_LEFT_OUT_BYTES = 1_000


def clean(text: str) -> str:
    """Text without control characters, and without characters that can't be sent."""
    return escape_surrogates(plain(text))


def of_cell(result: ExecResult, limit_chars: int, mask: Mask) -> str:
    """The outcome of a cell: its output, error and final value."""
    texts = [shown.error_text(result)]
    if result.final is not None:
        texts.append(f"FINAL: {result.final.text}")
    rest = [shorten(mask(text), limit_chars) for text in (*texts, _state(result))]
    parts = [shown.output_text(result, limit_chars, mask), *rest]
    return clean("\n".join(part for part in parts if part)) or "(nothing printed)"


def of_missed(result: ExecResult, limit_chars: int, mask: Mask) -> str:
    """The outcome of a cell whose end no call has seen."""
    return f"[The cell before this one ended as {result.status}:]\n{of_cell(result, limit_chars, mask)}\n[This cell:]\n"


def _state(result: ExecResult) -> str:
    nothing_shown = not result.output and result.error is None and result.final is None
    if nothing_shown and result.changed and not result.state_reset:
        return f"(nothing printed; set: {shown.some(result.changed)})"
    return shown.variables_text(result)


def of_delivery(delivery: Delivery) -> str:
    """Which answers were not taken, and why; empty if all were."""
    if not delivery.refused:
        return ""
    refused = "; ".join(f"{query_id[:40]}: {why}" for query_id, why in list(delivery.refused.items())[:20])
    return f"[{len(delivery.given)} answers taken, not these: {refused}]\n"


def of_context(session: HostSession, context: Context) -> str:
    """What was loaded, without the data."""
    return (
        f"Loaded as the variable `context` of session {session.id!r}; nothing of it is in this conversation but the "
        f"preview.\n{clean(session.masked(context.describe()))}\nNext: look at small slices of it with execute_python."
        f"{record_of(session)}"
    )


def _record(path: Path) -> str:
    """Where a record is: as a resource, and as a file."""
    return f"{uri_of(path.stem)} ({path})"


def record_of(session: HostSession) -> str:
    """Where the record of what a session does now is, on a line of its own."""
    return "" if session.repl is None else f"\n[record: {_record(session.repl.path)}]"


def of_sessions(sessions: Sequence[HostSession], ttl_s: float) -> str:
    """One line for each session."""
    lines = [_line(session, ttl_s) for session in sessions if session.repl is not None]
    return "\n".join(lines) or "No sessions. execute_python and load_context open one."


def fitting(text: str, limit_bytes: int = ROUND_BYTES) -> str:
    """`text`, cut in its middle where hosts would not show it whole."""
    size_bytes = len(text.encode())
    return text if size_bytes <= limit_bytes else shorten(text, len(text) * limit_bytes // size_bytes * 9 // 10)


class Listing:
    """Variables and their values, as many as hosts show at once."""

    def __init__(self) -> None:
        self._left_bytes = ROUND_BYTES - _LEFT_OUT_BYTES
        self._shown: list[str] = []
        self._left_out: list[str] = []

    @property
    def is_full(self) -> bool:
        return bool(self._left_out) or len(self._shown) >= _VALUES_AT_ONCE

    def add(self, name: str, value: str) -> None:
        """Add a value, cut where it alone is too large; one that no longer fits is left out."""
        text = fitting(f"{name} = {value}", ROUND_BYTES // 2)
        size_bytes = len(text.encode()) + 1
        if size_bytes > self._left_bytes:
            self.leave_out(name)
            return
        self._left_bytes -= size_bytes
        self._shown.append(text)

    def leave_out(self, name: str) -> None:
        """Name a variable whose value is not shown."""
        self._left_out.append(name)

    @property
    def text(self) -> str:
        """The values, and the names of those that were left out."""
        if not self._left_out:
            return "\n".join(self._shown)
        left_out = clip(shown.some(self._left_out), _LEFT_OUT_BYTES - 100)
        return "\n".join([*self._shown, f"[{len(self._left_out)} not shown, ask for them by themselves: {left_out}]"])


def _line(session: HostSession, ttl_s: float) -> str:
    repl = session.repl
    assert repl is not None
    idle_s = time.monotonic() - session.used_at
    context = f"{repl.context.kind}, {repl.context.size_bytes:,} bytes" if repl.context.kind != "none" else "none"
    state = f"idle {idle_s:.0f} s, closes after {ttl_s:g} s" if session.is_idle else session.state
    return (
        f"{session.id}: {state}; {repl.cells} cells, {repl.usage.subcalls} sub-calls; context: {context}; "
        f"variables: {session.masked(shown.some(session.names)) or 'none'}; record: {_record(repl.path)}"
    )


def of_run(result: RLMResult) -> str:
    """The answer of a run, how it ended, and what it used."""
    usage = result.usage
    cost = "" if result.cost_usd is None else f", ${result.cost_usd:.4f}"
    turns = "1 turn" if usage.turns == 1 else f"{usage.turns} turns"
    end = "" if result.status == "completed" else f" (ended as {result.status}: {result.limit or result.error})"
    return clean(
        f"{result.response or '(no answer)'}\n\n[run {result.run_id}{end}: {turns}, "
        f"{usage.input_tokens + usage.output_tokens:,} tokens{cost}, {result.duration_s:.0f} s; "
        f"record: {'none' if result.trajectory is None else _record(result.trajectory)}]"
    )


def of_given_up(text: str) -> str:
    """The outcome of a run whose call was given up, before that of another call; empty without one."""
    return f"[The run before, whose call was given up:]\n{text}\n[Now:]\n" if text else ""


def of_verification(found: Verification) -> str:
    scheme = f" ({found.scheme})" if found.scheme else ""
    return clean(f"run {found.run_id}{scheme}: {found.message}")


def as_answers(given: Mapping[str, Json]) -> dict[str, str]:
    """Answers as text: what a model gave as JSON is written as such."""
    texts = {key.strip(): value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}
    return {key: escape_surrogates(text) for key, text in texts.items()}
