"""A run as one JSON document: its summary, and its spans with what happened in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.core.events import Event
    from rlm.trajectory.span_records import SpanRecord
    from rlm.trajectory.states import RunState

FACTS = (
    "started_at", "status", "model", "environment", "turns", "cells", "model_calls", "subcalls", "tool_calls", "depth",
    "tokens", "input_tokens", "output_tokens", "cost_usd", "duration_s", "errors", "prompt", "limit", "error",
    "resumed_from", "forked_from", "forked_at", "served_tokens", "served_cost_usd", "events", "skipped_lines",
    "size_bytes", "warnings",
)  # fmt: skip
"""What is said of a run, by the names that its state has for it."""


def facts(run: RunState) -> dict[str, object]:
    """A run as JSON; what it lacks is null."""
    named = {name: getattr(run, name) for name in FACTS}
    lacking = {"limit": run.limit or None, "error": run.error or None}
    return {"run_id": run.id, **named, **lacking, "duration_s": round(run.duration_s, 3)}


def as_document(run: RunState, records: Iterable[SpanRecord]) -> str:
    """The JSON of a run; its spans are a list in the order they began, each naming its parent, so depth has no cap."""
    document = {"run": facts(run), "spans": [_span(record) for record in records]}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _span(record: SpanRecord) -> dict[str, Any]:
    begun, ended = record.start, record.end
    return {
        "span": record.state.id,
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
