"""What a span is called wherever people read of it: in the visualizer, on an exported page, in `rlm logs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm.trajectory.states import SpanState


def title_of(span: SpanState) -> str:
    """The title of a span: `run`, `child at depth 1`, `turn 3`, `model call`, `llm_query`, `cell 2`, a tool's name."""
    match span.kind:
        case "completion":
            return f"child at depth {span.depth}" if span.depth or span.parent else "run"
        case "exec":
            return f"cell {span.ordinal}"
        case "turn":
            return f"turn {span.ordinal}"
        case "model":
            return "model call" if span.name == "turn" else span.name or "model call"
    return span.name or span.kind


def fell_short(span: SpanState) -> bool:
    """Whether a completion that didn't fail ended otherwise than with its answer: at a limit, or cancelled."""
    return span.kind == "completion" and span.status == "ok" and span.detail not in ("", "completed")
