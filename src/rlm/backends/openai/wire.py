"""The OpenAI chat-completions wire as bytes: requests out, replies in, whole or streamed, typed by msgspec. It neither
sends nor retries, and believes nothing in a reply that it hasn't checked. Conversations are encoded anew on each turn:
1 MB takes 0.3 ms, so there is no cache. Source: https://platform.openai.com/docs/api-reference/chat"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from rlm.backends.estimate import estimate_usage
from rlm.backends.json_text import encode
from rlm.backends.openai.content import to_content
from rlm.core.exceptions import BadReplyError
from rlm.core.types import Finish, Json, Message, ModelReply, ModelRequest, TokenUsage, ToolCall, ToolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

_REASONING = re.compile(r"(?:.*/)?(?:o\d|gpt-[5-9])")
_DONE = b"[DONE]"

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
    """The arguments as JSON text, or as the object that some servers send in its place."""


class _Call(Struct, omit_defaults=True):
    function: _Function
    id: str | None = None
    type: str = ""


class _OutMessage(Struct, omit_defaults=True):
    role: str
    content: str | list[dict[str, Json]]
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
    stream: bool = False
    stream_options: dict[str, bool] | None = None


_Count = Annotated[int, Meta(ge=0)]


class _PromptDetails(Struct):
    cached_tokens: _Count | None = None
    cache_write_tokens: _Count | None = None


class _Usage(Struct):
    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    prompt_tokens_details: _PromptDetails | None = None
    cost: Annotated[float, Meta(ge=0)] | None = None
    """The cost in US dollars, which OpenRouter reports."""


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


class _FunctionDelta(Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _CallDelta(Struct):
    function: _FunctionDelta | None = None
    index: int | None = None
    id: str | None = None


class _Delta(Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_CallDelta] | None = None


class _ChoiceDelta(Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None
    index: int = 0


class _Chunk(Struct):
    choices: list[_ChoiceDelta]
    usage: _Usage | None = None


_replies = msgspec.json.Decoder(_InReply)
_chunks = msgspec.json.Decoder(_Chunk)


def encode_request(request: ModelRequest, *, stream: bool = False) -> bytes:
    """The body of a request. Lone surrogates, which JSON cannot carry, become question marks."""
    reasoning = is_reasoning(request.model)
    cap = request.max_output_tokens
    body = _OutRequest(
        model=request.model,
        messages=[_to_message(message) for message in request.messages],
        tools=[_to_tool(tool) for tool in request.tools],
        max_tokens=None if reasoning else cap,
        max_completion_tokens=cap if reasoning else None,
        temperature=None if reasoning else request.temperature,
        response_format=_to_format(request.response_schema),
        stream=stream,
        stream_options={"include_usage": True} if stream else None,
    )
    return encode(body)


def decode_reply(body: bytes, request: ModelRequest) -> ModelReply:
    """The reply in the body of a 200; usage is estimated where the server reports none.

    Raises:
        BadReplyError: it is malformed or of another shape.
    """
    try:
        reply = _replies.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadReplyError(f"the reply isn't a chat completion: {error}") from error
    choice = reply.choices[0]
    return _to_reply(choice.message, choice.finish_reason, reply.usage, request)


def is_reasoning(model: str) -> bool:
    """Whether `model` is of OpenAI's reasoning families, which take no temperature and their own output cap."""
    return _REASONING.match(model) is not None


@dataclass(slots=True)
class _CallDraft:
    id: str | None
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _MessageDraft:
    """A message that grows by deltas. Servers number all tool calls, some, or none."""

    content: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: list[_CallDraft] = field(default_factory=list)
    by_index: dict[int, _CallDraft] = field(default_factory=dict)

    def add(self, delta: _Delta) -> None:
        if delta.content:
            self.content.append(delta.content)
        if delta.refusal:
            self.refusal.append(delta.refusal)
        for call in delta.tool_calls or ():
            draft, function = self._call_of(call), call.function or _FunctionDelta()
            draft.name = draft.name or function.name or ""
            draft.arguments.append(_arguments(function.arguments or ""))

    def whole(self) -> _InMessage:
        return _InMessage(
            content="".join(self.content),
            refusal="".join(self.refusal),
            tool_calls=[_Call(_Function(call.name, "".join(call.arguments)), call.id) for call in self.calls],
        )

    def so_far(self) -> tuple[str, tuple[ToolCall, ...]]:
        message = self.whole()
        return message.content or message.refusal or "", _to_calls(message.tool_calls or [])

    def _call_of(self, delta: _CallDelta) -> _CallDraft:
        """The call that `delta` goes on with, or a new one: by its number, unless its id says otherwise."""
        last = self.calls[-1] if self.calls else None
        known = last if delta.index is None else self.by_index.get(delta.index)
        if known is not None and (not delta.id or delta.id == known.id):
            return known
        call = _CallDraft(delta.id)
        self.calls.append(call)
        if delta.index is not None:
            self.by_index[delta.index] = call
        return call


@dataclass(slots=True)
class OpenAIDraft:
    """A streamed reply while it comes in; see `provider.Draft`."""

    request: ModelRequest
    complete: bool = False
    _message: _MessageDraft = field(default_factory=_MessageDraft)
    _finish: str | None = None
    _usage: _Usage | None = None
    _begun: bool = False

    def add(self, event: bytes) -> None:
        if event.strip() == _DONE:
            self.complete = True
            return
        try:
            chunk = _chunks.decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadReplyError(f"an event isn't part of a chat completion: {error}") from error
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices:
            if choice.index == 0:
                self._begun = True
                self._finish = choice.finish_reason or self._finish
                self._message.add(choice.delta or _Delta())

    def reply(self) -> ModelReply:
        if not self._begun or not (self.complete or self._finish):
            raise BadReplyError("the stream ended before the reply did")
        if any(not call.name for call in self._message.calls):
            raise BadReplyError("the stream has a tool call without a name")
        return _to_reply(self._message.whole(), self._finish, self._usage, self.request)

    def spent(self) -> TokenUsage | None:
        if not self._begun:
            return None
        text, calls = self._message.so_far()
        return _to_usage(self._usage, self.request, text, calls)


def _to_message(message: Message) -> _OutMessage:
    calls = [
        _Call(id=call.id, type="function", function=_Function(call.name, call.arguments)) for call in message.tool_calls
    ]
    return _OutMessage(message.role, to_content(message), calls, message.tool_call_id)


def _to_tool(tool: ToolSpec) -> dict[str, Json]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _to_format(schema: Mapping[str, Json] | None) -> dict[str, Json] | None:
    if schema is None:
        return None
    # Not strict: that refuses schemas with optional properties, and the value is validated here anyway.
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _to_reply(message: _InMessage, finish: str | None, usage: _Usage | None, request: ModelRequest) -> ModelReply:
    text = message.content or message.refusal or ""
    calls = _to_calls(message.tool_calls or [])
    return ModelReply(
        text=text,
        usage=_to_usage(usage, request, text, calls),
        tool_calls=calls,
        finish=_FINISHES.get(finish, "unknown"),
        cost_usd=usage.cost if usage else None,
    )


def _to_calls(calls: list[_Call]) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(id=call.id or f"call_{number}", name=call.function.name, arguments=_arguments(call.function.arguments))
        for number, call in enumerate(calls, 1)
    )


def _arguments(arguments: str | dict[str, Any]) -> str:
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()


def _to_usage(usage: _Usage | None, request: ModelRequest, text: str, calls: tuple[ToolCall, ...]) -> TokenUsage:
    """The usage that was reported, with an estimate for what is missing; a prompt of zero tokens counts as missing."""
    usage = usage or _Usage()
    input_tokens, output_tokens = usage.prompt_tokens, usage.completion_tokens
    if not input_tokens or output_tokens is None:
        estimate = estimate_usage(request, text, calls)
        input_tokens = input_tokens or estimate.input_tokens
        output_tokens = estimate.output_tokens if output_tokens is None else output_tokens
    details = usage.prompt_tokens_details or _PromptDetails()
    cached_tokens = min(details.cached_tokens or 0, input_tokens)
    return TokenUsage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached_tokens,
        cache_write_tokens=min(details.cache_write_tokens or 0, input_tokens - cached_tokens),
    )
