"""How a run ended, as its record has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.events import CompletionEnd, CompletionStart, ExecEnd
from rlm.trajectory.reader import Trajectory, ends_run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rlm.core.types import Json

_WITHIN = {
    "": ("completion.start",),
    "completion.start": ("turn.start", "exec.start"),
    "turn.start": ("exec.start",),
}
"""What of a run's own spans begins within which, so that children of a cell are left out."""


def end_of(record: Path) -> CompletionEnd | None:
    """The end of a run, with its whole answer; None where it was cut off."""
    run = Trajectory(record)
    end = next((event for event in run if ends_run(event)), None)
    body = None if end is None else run.whole(end).body
    return body if isinstance(body, CompletionEnd) else None


def value_of(record: Path, end: CompletionEnd) -> Json:
    """The value of a run's answer, as its record has it: what its last cell gave, or the text that it replied."""
    run = Trajectory(record)
    kinds: dict[str, str] = {}
    """The spans of the root completion, of its turns, and of their cells, by how each began."""
    given = None
    for event in run:
        above = "" if event.parent is None else kinds.get(event.parent, "another's")
        if event.type in _WITHIN.get(above, ()):
            kinds[event.span] = event.type
        if isinstance(event.body, ExecEnd) and event.span in kinds:
            given = event if event.body.final is not None else None
    if given is not None:
        body = run.whole(given).body
        final = body.final if isinstance(body, ExecEnd) else None
        if final is not None and final.text == end.response:
            return final.value
    return end.response if end.status == "completed" else None


def have_begun(records: Iterable[Path]) -> bool:
    """Whether one of the records goes as far as the task of the run, so that there is something to go on with."""
    return any(isinstance(event.body, CompletionStart) for record in records for event in Trajectory(record))
