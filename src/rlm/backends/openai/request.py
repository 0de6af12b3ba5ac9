"""Writes requests for the OpenAI chat-completions wire, in the forms that the servers which speak it take: the most
common form at first, and others for a model whose server has refused that one in words that are known here. It reads no
reply. Conversations are encoded anew on each turn: 1 MB takes 0.3 ms, so there is no cache.
Source: https://platform.openai.com/docs/api-reference/chat"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from rlm.backends.json_text import encode
from rlm.backends.openai.content import to_content
from rlm.backends.tool_calls import arguments_text, name_of, short_id, with_known_ids
from rlm.backends.turns import in_turns, system_in_task

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from rlm.backends.reasoning import ReasoningMemory
    from rlm.core.types import Json, Message, ModelRequest, ToolCall, ToolSpec

_REASONING = re.compile(r"(?:.*/)?(?:o\d|gpt-[5-9])")


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


_NO = r"(?:\bnot\b|n't|\bun(?:supported|known|recognized|expected)\b|\bextra\b|additional|forbidden|\binvalid\b)"
_OPAQUE = r"\b(?:reasoning(?:_content|_details)?|extra_content|provider_specific_fields|thought_signature)\b"
NO_EFFORT, OTHER_CAP, NO_REASONING, OWED_REASONING, OWED_SIGNATURES, NO_SYSTEM, SHORT_IDS, NO_STREAM_OPTIONS = (
    "effort",
    "output cap",
    "reasoning",
    "owed reasoning",
    "owed signatures",
    "system",
    "short ids",
    "stream options",
)
FORMS: Mapping[str, re.Pattern[str]] = {
    NO_EFFORT: _words(r"reasoning_effort|reasoning effort"),
    NO_STREAM_OPTIONS: _words(r"stream_options|include_usage"),
    OTHER_CAP: _words(
        r"(?:unsupported|unrecognized|unknown|unexpected|not supported|not permitted|extra|use).{0,60}"
        r"max_(?:completion_)?tokens|max_(?:completion_)?tokens.{0,60}(?:not supported|unsupported|not permitted)"
    ),
    OWED_REASONING: _words(r"reasoning\w*.{0,60}(?:missing|required|must be)|(?:missing|requires).{0,40}reasoning"),
    OWED_SIGNATURES: _words(
        r"(?:missing|requires).{0,60}thought_?signature|thought_?signature.{0,60}(?:missing|required)"
    ),
    NO_REASONING: _words(rf"{_NO}.{{0,80}}{_OPAQUE}|{_OPAQUE}.{{0,80}}{_NO}"),
    NO_SYSTEM: _words(r"system.{0,20}(?:role|message|prompt|instruction).{0,40}(?:not|n't|un)"),
    SHORT_IDS: _words(r"tool.?call.?id.{0,80}length.{0,6}9"),
}
"""The other forms of a request, and the words in which servers ask for each. Each is taken once, in this order, where
it changes anything."""

EMPTY = "(empty)"
"""The text that stands in for an empty message, which many servers refuse."""
OWED = "(not kept)"
"""The reasoning of a call of which none is known."""
OWED_SIGNATURE = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""What Gemini takes in place of a signature that was lost.
Source: https://ai.google.dev/gemini-api/docs/thought-signatures"""


class _Request(Struct, omit_defaults=True):
    model: str
    messages: list[dict[str, Json]]
    tools: list[dict[str, Json]] = []
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    response_format: dict[str, Json] | None = None
    reasoning_effort: str | None = None
    stream: bool = False
    stream_options: dict[str, bool] | None = None


def encode_request(
    request: ModelRequest, memory: ReasoningMemory, *, stream: bool = False, forms: Set[str] = frozenset()
) -> bytes:
    """The body of a request, in some of the other `FORMS`. Lone surrogates, which JSON cannot carry, become question
    marks."""
    reasoning = is_reasoning(request.model)
    cap, own_cap = request.max_output_tokens, reasoning != (OTHER_CAP in forms)
    body = _Request(
        model=request.model,
        messages=_messages(request, memory, forms),
        tools=[_to_tool(tool) for tool in request.tools],
        max_tokens=None if own_cap else cap,
        max_completion_tokens=cap if own_cap else None,
        temperature=None if reasoning else request.temperature,
        response_format=_to_format(request.response_schema),
        reasoning_effort=None if NO_EFFORT in forms else request.effort,
        stream=stream,
        stream_options={"include_usage": True} if stream and NO_STREAM_OPTIONS not in forms else None,
    )
    return encode(body)


def is_reasoning(model: str) -> bool:
    """Whether `model` is of OpenAI's reasoning families, which take no temperature and their own output cap."""
    return _REASONING.match(model) is not None


def _messages(request: ModelRequest, memory: ReasoningMemory, forms: Set[str]) -> list[dict[str, Json]]:
    messages = in_turns(with_known_ids(request.messages))
    if NO_SYSTEM in forms:
        messages = system_in_task(messages)
    written = []
    for message in messages:
        out = to_message(message)
        if message.tool_calls:
            give_back(out, memory.of(request, message), forms, owed=message.reasoning or OWED)
        if SHORT_IDS in forms:
            _shorten_ids(out)
        written.append(out)
    return written


def to_message(message: Message) -> dict[str, Json]:
    """A message as every server takes it."""
    content = to_content(message)
    if not message.tool_calls and isinstance(content, str) and not content.strip():
        content = EMPTY
    out: dict[str, Json] = {"role": message.role, "content": content}
    if message.tool_calls:
        out["tool_calls"] = [_to_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        out["tool_call_id"] = message.tool_call_id
    return out


def _to_call(call: ToolCall) -> dict[str, Json]:
    function = {"name": name_of(call), "arguments": arguments_text(call)}
    return {"id": call.id, "type": "function", "function": function}


def give_back(
    out: dict[str, Json], kept: tuple[dict[str, Json], ...], forms: Set[str] = frozenset(), *, owed: str = OWED
) -> None:
    """Put what a message with tool calls came with back into it: the fields of the message, then those of each call.

    `owed` is the reasoning of a message whose own fields are lost, for a server that can't do without any.
    """
    fields, *extras = kept or ({},)
    if NO_REASONING not in forms:
        out.update(fields)
        for call, extra in zip(out["tool_calls"], extras, strict=False):
            call.update(extra)
    if OWED_REASONING in forms and not any(name.startswith("reasoning") for name in out):
        out["reasoning_content"] = owed
    if OWED_SIGNATURES in forms:
        out["tool_calls"][0].setdefault("extra_content", OWED_SIGNATURE)


def _shorten_ids(out: dict[str, Json]) -> None:
    for call in out.get("tool_calls", ()):
        call["id"] = short_id(call["id"])
    if "tool_call_id" in out:
        out["tool_call_id"] = short_id(out["tool_call_id"])


def _to_tool(tool: ToolSpec) -> dict[str, Json]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _to_format(schema: Mapping[str, Json] | None) -> dict[str, Json] | None:
    if schema is None:
        return None
    # Not strict: that refuses schemas with optional properties, and the value is validated here anyway.
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
