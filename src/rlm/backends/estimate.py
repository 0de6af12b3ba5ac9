"""Usage where a provider reports none. An estimate, never a claim: no tokenizer is loaded and nothing is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.budget import estimate_images, estimate_tokens
from rlm.core.types import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.core.types import ModelRequest, ToolCall


def estimate_usage(request: ModelRequest, text: str, calls: Iterable[ToolCall] = ()) -> TokenUsage:
    """Usage of a request answered with `text` and `calls`, high rather than low; nothing counts as cached."""
    input_tokens = sum(
        estimate_tokens(message.content) + _calls_tokens(message.tool_calls) + estimate_images(message.images)
        for message in request.messages
    )
    return TokenUsage(input_tokens=input_tokens, output_tokens=estimate_tokens(text) + _calls_tokens(calls))


def _calls_tokens(calls: Iterable[ToolCall]) -> int:
    return sum(estimate_tokens(call.name + call.arguments) for call in calls)
