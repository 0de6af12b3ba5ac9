"""What was asked for a run, and what it came to, as clients are told: from its result where this process made it, else
from its record."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rlm.core.events import Controlled
from rlm.core.texts import escape_surrogates
from rlm.jobs.engines.ended import value_of
from rlm.service.messages import KeptRun, ResultNote
from rlm.trajectory.fold import LiveRun
from rlm.trajectory.reader import Trajectory, ends_run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.core.events import Event
    from rlm.core.outcome import RLMResult
    from rlm.core.types import RunUsage
    from rlm.service.state import RunRow


def result_note(result: RLMResult) -> ResultNote:
    """What a run of this process came to."""
    return ResultNote(
        status=result.status,
        response=escape_surrogates(result.response),
        value=json.loads(json.dumps(result.value, default=repr), parse_constant=lambda _: None),
        limit=result.limit,
        error=None if result.error is None else escape_surrogates(f"{type(result.error).__name__}: {result.error}"),
        usage=_usage(result.usage),
        cost_usd=result.cost_usd,
        duration_s=round(result.duration_s, 3),
        run_id=result.run_id,
        sources=list(result.sources),
    )


def failed_note(error: Exception) -> ResultNote:
    """What a run came to that could not be made."""
    return ResultNote(status="failed", response="", error=f"{type(error).__name__}: {error}")


def note_on_record(record: Path) -> ResultNote | None:
    """What a run came to, as its record has it; None where it was cut off, or cancelled with the service alone."""
    run, was_cancelled = Trajectory(record), False
    for event in run:
        was_cancelled = was_cancelled or (event.parent is None and _is_cancel(event.body))
        if ends_run(event) and (was_cancelled or event.body.status != "cancelled"):
            body = run.whole(event).body
            return ResultNote(
                status=body.status,
                response=body.response,
                value=value_of(record, body),
                limit=body.limit,
                error=body.error,
                usage=_usage(body.usage),
                cost_usd=body.cost_usd,
                duration_s=round(body.duration_s, 3),
                run_id=event.run,
                sources=body.sources,
            )
    return None


def with_spend(note: ResultNote, records: Iterable[Path]) -> ResultNote:
    """The note of a run that could not be gone on with, with what was paid before, as its records have it. The cost is
    unknown where a call was under way, for nobody knows what its provider bills."""
    usage, cost_usd, is_known, last = Counter[str](note.usage), note.cost_usd or 0.0, True, note.run_id
    for record in records:
        live, last = LiveRun(), record.stem
        for event in Trajectory(record):
            live.add(event)
        state = live.state
        usage.update(input_tokens=state.input_tokens, output_tokens=state.output_tokens)
        cost_usd += state.spent_usd
        is_known &= not state.unpriced and all(span.kind != "model" for span in live.open_spans)
    return msgspec.structs.replace(note, usage=dict(usage), cost_usd=cost_usd if is_known else None, run_id=last)


def _usage(used: RunUsage) -> dict[str, int]:
    return {name: getattr(used, name) for name in used.__slots__}


def _is_cancel(body: object) -> bool:
    return isinstance(body, Controlled) and body.action == "cancel"


def asked_in(row: RunRow) -> KeptRun:
    """What was asked for a run that has not ended."""
    return msgspec.json.decode(row.request or b"", type=KeptRun)


def whole_event(row: RunRow, event: Event) -> Event:
    """An event of a run with the texts that are beside its record."""
    paths = (Path(path) for path in row.records.splitlines())
    return Trajectory(next(path for path in paths if path.stem == event.run)).whole(event)


def existing_records(row: RunRow) -> list[Path]:
    """The records of a run that there are."""
    return [path for path in map(Path, row.records.splitlines()) if path.exists()]
