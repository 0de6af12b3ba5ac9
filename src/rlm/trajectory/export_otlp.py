"""Runs as OpenTelemetry spans in OTLP's JSON, by the semantic conventions for generative AI.

A run is a trace and keeps its id, and its spans keep theirs. As the conventions advise, prompts, code and replies are
left out unless they are asked for.

Source: https://opentelemetry.io/docs/specs/otlp/; the names are those of `conventions`.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from rlm.trajectory import conventions as names
from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.states import RunState, SpanState

BATCH_SPANS = 1_000
_INTERNAL, _CLIENT = 1, 3
_OK, _ERROR = 1, 2


def as_otlp(index: Index, run: RunState, *, content: bool = False) -> Iterator[dict[str, Any]]:
    """The spans of a run as export requests of at most `BATCH_SPANS` each; `content` adds the beginnings of prompts,
    code and arguments. A span that never ended ends with the run's last event, and says so."""
    for offset in range(0, run.spans, BATCH_SPANS):
        rows = index.all_spans(run.id, offset=offset, limit=BATCH_SPANS).rows
        spans = [_span(run, row, content=content) for row in rows]
        about = {"name": "rlm", "version": __version__}
        scope = {"scope": about, "spans": spans, "schemaUrl": names.SCHEMA_URL}
        resource = {"attributes": _attributes({"service.name": "rlm", "service.version": __version__})}
        yield {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def _span(run: RunState, row: SpanState, *, content: bool) -> dict[str, Any]:
    ended_at = run.last_at if row.ended_at is None else row.ended_at
    span = {
        "traceId": _id(run.id, 32),
        "spanId": _id(row.id, 16),
        "name": _name(row),
        "kind": _CLIENT if row.kind == "model" else _INTERNAL,
        "startTimeUnixNano": _nanoseconds(row.started_at),
        "endTimeUnixNano": _nanoseconds(max(ended_at, row.started_at)),
        "attributes": _attributes(_facts(run, row, content=content)),
        "status": _status(row),
    }
    if row.parent is not None:
        span["parentSpanId"] = _id(row.parent, 16)
    return span


def _name(row: SpanState) -> str:
    """The name of a span by the conventions: the operation and its target."""
    target = {"completion": "rlm", "model": row.model, "tool": row.name}.get(row.kind, "")
    operation = names.OPERATIONS.get(row.kind)
    return f"{operation} {target}".strip() if operation else f"{row.name} {row.ordinal}".strip()


def _facts(run: RunState, row: SpanState, *, content: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        names.CONVERSATION: run.id,
        names.OPERATION: names.OPERATIONS.get(row.kind),
        names.SPAN_KIND: row.kind,
        names.DEPTH: row.depth,
        names.UNFINISHED: True if row.ended_at is None else None,
        names.TOTAL_TOKENS: row.total_tokens,
        names.TOTAL_COST: row.total_cost_usd,
        names.ERROR_TYPE: _error_type(row) if row.status == "error" else None,
    }
    if row.kind == "completion":
        provider, name = names.provider_and_model(row.model)
        facts |= {names.AGENT: "rlm", names.PROVIDER: provider, names.REQUEST_MODEL: name}
        facts[names.ENVIRONMENT] = run.environment
    if row.kind == "model":
        facts |= _call_facts(row)
    if row.kind == "tool":
        facts |= {names.TOOL: row.name, names.TOOL_TYPE: "function"}
    if content:
        facts[names.CONTENT] = row.head
    return facts


def _call_facts(row: SpanState) -> dict[str, Any]:
    provider, name = names.provider_and_model(row.model)
    finish = "error" if row.status == "error" else names.finish_reason(row.finish)
    return {
        names.PROVIDER: provider,
        names.REQUEST_MODEL: name,
        names.MAX_TOKENS: row.max_output_tokens or None,
        names.FINISH_REASONS: [finish] if finish else None,
        names.INPUT_TOKENS: row.input_tokens,
        names.OUTPUT_TOKENS: row.output_tokens,
        names.CACHE_READ_TOKENS: row.cached_tokens or None,
        names.CACHE_WRITE_TOKENS: row.cache_write_tokens or None,
        names.PURPOSE: row.name,
        names.COST: row.cost_usd,
        names.CACHED: row.cached,
    }


def _error_type(row: SpanState) -> str:
    named = re.match(r"[A-Za-z_][\w.]{0,79}", row.detail)
    return named[0] if named else names.OTHER_ERROR


def _status(row: SpanState) -> dict[str, Any]:
    if row.status == "error":
        return {"code": _ERROR, "message": row.detail}
    return {"code": _OK} if row.status == "ok" else {}


def _attributes(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in facts.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": str(value)}


def _nanoseconds(at: float) -> str:
    return str(int(at * 1e9))


def _id(name: str, digits: int) -> str:
    """An id of W3C size: the name if it is such an id, else a digest of it."""
    if len(name) == digits and re.fullmatch("[0-9a-f]+", name) and name.strip("0"):
        return name
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
