"""The OpenAI chat-completions wire as bytes: requests out, replies in, both typed by msgspec. It neither sends nor
retries, and believes nothing in a reply that it hasn't checked. Conversations are encoded anew on each turn: 1 MB takes
0.3 ms, so there is no cache. Source: https://platform.openai.com/docs/api-reference/chat"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from rlm.backends.estimate import estimate_usage
from rlm.core.exceptions import BadReplyError
from rlm.core.types import Finish, Json, Message, ModelReply, ModelRequest, TokenUsage, ToolCall, ToolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

_REASONING = re.compile(r"(?:.*/)?(?:o\d|gpt-[5-9])")

_FINISHES: Mapping[str | None, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class _Function(Struct):
    name: str
    arguments: str | dict[str, Any] = ""
    """Some servers send an object where the wire has JSON text."""


class _Call(Struct, omit_defaults=True):
    function: _Function
    id: str | None = None
    type: str = ""


class _OutMessage(Struct, omit_defaults=True):
    role: str
    content: str
    tool_calls: list[_Call] = []
    tool_call_id: str | None = None


class _OutRequest(Struct, omit_defaults=True):
    model: str
    messages: list[_OutMessage]
    tools: list[dict[str, Json]] = []
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    response_format: dict[str, Json] | None = None


_Count = Annotated[int, Meta(ge=0)]


class _PromptDetails(Struct):
    cached_tokens: _Count | None = None


class _Usage(Struct):
    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    prompt_tokens_details: _PromptDetails | None = None
    cost: Annotated[float, Meta(ge=0)] | None = None
    """US dollars, from OpenRouter."""


class _InMessage(Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    message: _InMessage
    finish_reason: str | None = None


class _InReply(Struct):
    choices: Annotated[list[_Choice], Meta(min_length=1)]
    usage: _Usage | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_InReply)


def encode_request(request: ModelRequest) -> bytes:
    """The body of a request. Lone surrogates, which JSON cannot carry, become question marks."""
    body = _to_wire(request)
    try:
        return _encoder.encode(body)
    except UnicodeEncodeError:
        return _encoder.encode(_without_surrogates(msgspec.to_builtins(body)))


def decode_reply(body: bytes, request: ModelRequest) -> ModelReply:
    """The reply in the body of a 200; usage is estimated where the server reports none.

    Raises:
        BadReplyError: it is malformed or of another shape.
    """
    try:
        reply = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadReplyError(f"the reply is no chat completion: {error}") from error
    choice = reply.choices[0]
    text = choice.message.content or choice.message.refusal or ""
    calls = tuple(_to_call(call, number) for number, call in enumerate(choice.message.tool_calls or (), 1))
    return ModelReply(
        text=text,
        usage=_to_usage(reply.usage or _Usage(), estimate_usage(request, text, calls)),
        tool_calls=calls,
        finish=_FINISHES.get(choice.finish_reason, "unknown"),
        cost_usd=reply.usage.cost if reply.usage else None,
    )


def is_reasoning(model: str) -> bool:
    """Whether `model` is of OpenAI's reasoning families, which take no temperature and their own output cap."""
    return _REASONING.match(model) is not None


def _to_wire(request: ModelRequest) -> _OutRequest:
    reasoning = is_reasoning(request.model)
    cap = request.max_output_tokens
    return _OutRequest(
        model=request.model,
        messages=[_to_message(message) for message in request.messages],
        tools=[_to_tool(tool) for tool in request.tools],
        max_tokens=None if reasoning else cap,
        max_completion_tokens=cap if reasoning else None,
        temperature=None if reasoning else request.temperature,
        response_format=_to_format(request.response_schema),
    )


def _to_message(message: Message) -> _OutMessage:
    calls = [
        _Call(id=call.id, type="function", function=_Function(call.name, call.arguments)) for call in message.tool_calls
    ]
    return _OutMessage(message.role, message.content, calls, message.tool_call_id)


def _to_tool(tool: ToolSpec) -> dict[str, Json]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _to_format(schema: Mapping[str, Json] | None) -> dict[str, Json] | None:
    if schema is None:
        return None
    # Not strict: that refuses schemas with optional properties, and the value is validated here anyway.
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _to_call(call: _Call, number: int) -> ToolCall:
    arguments = call.function.arguments
    text = arguments if isinstance(arguments, str) else _encoder.encode(arguments).decode()
    return ToolCall(id=call.id or f"call_{number}", name=call.function.name, arguments=text)


def _to_usage(usage: _Usage, estimate: TokenUsage) -> TokenUsage:
    """What was reported, with the estimate for what is missing; a prompt of zero tokens is missing."""
    input_tokens = usage.prompt_tokens or estimate.input_tokens
    details = usage.prompt_tokens_details or _PromptDetails()
    return TokenUsage(
        input_tokens=input_tokens,
        output_tokens=estimate.output_tokens if usage.completion_tokens is None else usage.completion_tokens,
        cached_tokens=min(details.cached_tokens or 0, input_tokens),
    )


def _without_surrogates(value: Json) -> Json:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value
