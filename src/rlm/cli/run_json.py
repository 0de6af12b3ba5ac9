"""A run as one JSON document: its summary, and its spans with what happened in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from rlm.trajectory.folds import spans

if TYPE_CHECKING:
    from rlm.core.events import Event
    from rlm.trajectory.folds import SpanRecord
    from rlm.trajectory.reader import Trajectory


def as_document(run: Trajectory, summary: dict[str, object]) -> str:
    """The JSON of a run; its spans are a list in the order they began, each naming its parent, so depth has no cap."""
    records = [_span(record) for record in spans(run)]
    return msgspec.json.format(msgspec.json.encode({"run": summary, "spans": records}), indent=2).decode() + "\n"


def _span(record: SpanRecord) -> dict[str, Any]:
    begun, ended = record.start, record.end
    return {
        "span": record.span,
        "parent": record.parent,
        "kind": record.kind,
        "started_at": None if begun is None else begun.at,
        "ended_at": None if ended is None else ended.at,
        "start": None if begun is None else _content(begun),
        "end": None if ended is None else _content(ended),
        "events": [{"type": event.type, "at": event.at, **_content(event)} for event in record.events],
    }


def _content(event: Event) -> dict[str, Any]:
    return {"body": event.body, "blobs": event.blobs} if event.blobs else {"body": event.body}
