"""How a run ended, as its record has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.events import CompletionEnd
from rlm.trajectory.reader import Trajectory, ends_run

if TYPE_CHECKING:
    from pathlib import Path


def end_of(record: Path) -> CompletionEnd | None:
    """The end of a run, with its whole answer; None where it was cut off."""
    run = Trajectory(record)
    end = next((event for event in run if ends_run(event)), None)
    body = None if end is None else run.whole(end).body
    return body if isinstance(body, CompletionEnd) else None
