"""What `rlm run --dry-run` shows."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rlm.core.plain import plain

if TYPE_CHECKING:
    from rlm.runtime.forecast import Forecast, Spend


def as_text(found: Forecast) -> str:
    """A forecast for people."""
    lines = [
        f"# {found.model} in {found.environment}; no model was called",
        *(f"warning: {plain(warning)}" for warning in found.warnings),
        f"first request: about {found.input_tokens:,} tokens",
        f"likely: {_spend(found.likely)}",
        f"at most: {_spend(found.worst)}",
    ]
    for message in found.messages:
        lines += ["", f"# {message.role}", plain(message.content)]
    return "\n".join(lines) + "\n"


def as_json(found: Forecast) -> str:
    """A forecast as one JSON object."""
    values = {
        "type": "forecast",
        "model": found.model,
        "environment": found.environment,
        "context": found.context,
        "warnings": found.warnings,
        "messages": [{"role": message.role, "content": message.content} for message in found.messages],
        "input_tokens": found.input_tokens,
        "likely": asdict(found.likely),
        "worst": asdict(found.worst),
    }
    return json.dumps(values) + "\n"


def _spend(spend: Spend) -> str:
    tokens = "any number of tokens" if spend.tokens is None else f"{spend.tokens:,} tokens"
    cost = "cost unknown" if spend.cost_usd is None else f"${spend.cost_usd:.4f}"
    return f"{tokens}, {cost} ({spend.basis})"
