"""How far a batch is: one line that changes on a terminal, else a line now and then."""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rlm.jobs.batch.batch import BatchStatus

LINE_EVERY_S, TERMINAL_EVERY_S = 10.0, 0.125


class Progress:
    """Shows how a batch stands whenever something happens in it, no more often than a person can read."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._next_at = 0.0

    def __call__(self, status: BatchStatus) -> None:
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + (TERMINAL_EVERY_S if self._is_terminal else LINE_EVERY_S)
        text = summary(status)
        self._stream.write(f"\r\x1b[K{text}" if self._is_terminal else f"{text}\n")
        self._stream.flush()

    def end(self) -> None:
        """Clear the line."""
        if self._is_terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def summary(status: BatchStatus) -> str:
    """How a batch stands, in one line."""
    parts = [f"{status.completed + status.failed:,} of {status.count:,}"]
    if status.failed:
        parts.append(f"{status.failed:,} failed")
    if status.per_s:
        parts.append(f"{status.per_s:.3g}/s")
    parts.append(f"{status.input_tokens + status.output_tokens:,} tokens")
    parts.append("cost unknown" if status.cost_usd is None else f"${status.cost_usd:.4f}")
    parts.append(f"{_time(status.elapsed_s)} so far")
    if status.left and status.left_s is not None:
        parts.append(f"about {_time(status.left_s)} left")
    return " · ".join(parts)


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
