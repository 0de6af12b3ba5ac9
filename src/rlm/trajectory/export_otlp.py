"""Runs as OpenTelemetry spans in OTLP's JSON, by the semantic conventions for generative AI.

A run is a trace and keeps its id, and its spans keep theirs. As the conventions advise, prompts, code and replies are
left out unless they are asked for.

Source: https://opentelemetry.io/docs/specs/otlp/ and https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.states import RunState, SpanState

BATCH_SPANS = 1_000
_INTERNAL, _CLIENT = 1, 3
_OK, _ERROR = 1, 2
_OPERATIONS = {"completion": "invoke_agent", "model": "chat", "tool": "execute_tool"}
_SYSTEMS = {"openai": "openai", "anthropic": "anthropic", "claude-cli": "anthropic"}


def as_otlp(index: Index, run: RunState, *, content: bool = False) -> Iterator[dict[str, Any]]:
    """The spans of a run as export requests of at most `BATCH_SPANS` each; `content` adds the beginnings of prompts,
    code and arguments. A span that never ended ends with the run's last event, and says so."""
    for offset in range(0, run.spans, BATCH_SPANS):
        rows = index.all_spans(run.id, offset=offset, limit=BATCH_SPANS).rows
        spans = [_span(run, row, content=content) for row in rows]
        scope = {"scope": {"name": "rlm", "version": __version__}, "spans": spans}
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
    operation = _OPERATIONS.get(row.kind)
    return f"{operation} {target}".strip() if operation else f"{row.name} {row.ordinal}".strip()


def _facts(run: RunState, row: SpanState, *, content: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "gen_ai.conversation.id": run.id,
        "gen_ai.operation.name": _OPERATIONS.get(row.kind),
        "rlm.span.kind": row.kind,
        "rlm.depth": row.depth,
        "rlm.unfinished": True if row.ended_at is None else None,
        "rlm.total_tokens": row.total_tokens,
        "rlm.total_cost_usd": row.total_cost_usd,
        "error.type": _error_type(row) if row.status == "error" else None,
    }
    if row.kind == "completion":
        facts |= {"gen_ai.agent.name": "rlm", "gen_ai.request.model": row.model, "rlm.environment": run.environment}
    if row.kind == "model":
        facts |= _call_facts(row)
    if row.kind == "tool":
        facts["gen_ai.tool.name"] = row.name
    if content:
        facts["rlm.content"] = row.head
    return facts


def _call_facts(row: SpanState) -> dict[str, Any]:
    provider, _, name = row.model.rpartition("/")
    return {
        "gen_ai.provider.name": _SYSTEMS.get(provider, provider or row.model),
        "gen_ai.request.model": name,
        "gen_ai.usage.input_tokens": row.input_tokens,
        "gen_ai.usage.output_tokens": row.output_tokens,
        "rlm.purpose": row.name,
        "rlm.cost_usd": row.cost_usd,
        "rlm.cached": row.cached,
    }


def _error_type(row: SpanState) -> str:
    named = re.match(r"[A-Za-z_][\w.]{0,79}", row.detail)
    return named[0] if named else "_OTHER"


def _status(row: SpanState) -> dict[str, Any]:
    if row.status == "error":
        return {"code": _ERROR, "message": row.detail}
    return {"code": _OK} if row.status == "ok" else {}


def _attributes(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in facts.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
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
