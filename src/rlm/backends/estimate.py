"""Usage where a provider reports none, or what can't be. An estimate, never a claim: no tokenizer is loaded, nothing is
counted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rlm.core.budget import estimate_images, estimate_tokens
from rlm.core.types import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rlm.core.types import Message, ModelRequest, ToolCall

TOKEN_CHARS = 128
"""More characters than any tokenizer puts into one token, over a whole reply."""
CALL_TOKENS = 10_000_000
"""More tokens than any call has."""


def estimate_usage(request: ModelRequest, text: str, calls: Iterable[ToolCall] = ()) -> TokenUsage:
    """Usage of a request answered with `text` and `calls`, high rather than low; nothing counts as cached."""
    input_tokens = sum(
        estimate_tokens(message.content) + _asked_tokens(message) + estimate_images(message.images)
        for message in request.messages
    )
    input_tokens += sum(
        estimate_tokens(f"{tool.name}{tool.description}{json.dumps(tool.parameters)}") for tool in request.tools
    )
    return TokenUsage(input_tokens=input_tokens, output_tokens=estimate_tokens(text) + _calls_tokens(calls))


def believed_usage(
    request: ModelRequest, text: str, calls: Sequence[ToolCall], said: tuple[int | None, int | None]
) -> TokenUsage:
    """Usage of a request answered with `text` and `calls`: the input and the output tokens that the server `said`, each
    estimated where it said none, or what can't be.
    """
    input_tokens, output_tokens = said
    if not input_tokens or input_tokens > CALL_TOKENS:
        input_tokens = None
    written_chars = len(text) + sum(len(call.name) + len(call.arguments) for call in calls)
    if output_tokens is not None and not written_chars <= output_tokens * TOKEN_CHARS <= CALL_TOKENS * TOKEN_CHARS:
        output_tokens = None
    if input_tokens is not None and output_tokens is not None:
        return TokenUsage(input_tokens=input_tokens, output_tokens=output_tokens)
    estimate = estimate_usage(request, text, calls)
    return TokenUsage(
        input_tokens=estimate.input_tokens if input_tokens is None else input_tokens,
        output_tokens=estimate.output_tokens if output_tokens is None else output_tokens,
    )


def _asked_tokens(message: Message) -> int:
    """What the calls of a message take, with the reasoning that goes back with them."""
    reasoning = estimate_tokens(message.reasoning) if message.tool_calls and message.reasoning else 0
    return _calls_tokens(message.tool_calls) + reasoning


def _calls_tokens(calls: Iterable[ToolCall]) -> int:
    return sum(estimate_tokens(call.name + call.arguments) for call in calls)
