"""The Anthropic messages wire as bytes: requests out, replies in, whole or streamed, typed by msgspec. It neither sends
nor retries, and believes nothing in a reply that it hasn't checked. Source: https://platform.claude.com/docs/en/api/messages"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

from rlm.backends.anthropic.request import encode_request
from rlm.backends.anthropic.thinking import ThinkingMemory
from rlm.backends.estimate import estimate_usage
from rlm.core.exceptions import BadReplyError
from rlm.core.types import Finish, Json, ModelReply, ModelRequest, TokenUsage, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION = "2023-06-01"

_FINISHES: Mapping[str | None, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_Count = Annotated[int, Meta(ge=0)]


class _Usage(Struct):
    input_tokens: _Count | None = None
    """Input tokens that were neither read from the cache nor written to it."""
    output_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None


class _Block(Struct):
    """A content block of any kind, with the fields of the kinds that are used."""

    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: Json = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


class _Message(Struct):
    content: list[_Block] = []
    stop_reason: str | None = None
    usage: _Usage | None = None


class _InReply(Struct):
    content: list[_Block]
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Delta(Struct):
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None


class _MessageStart(Struct, tag="message_start"):
    message: _Message


class _BlockStart(Struct, tag="content_block_start"):
    index: int
    content_block: _Block


class _BlockDelta(Struct, tag="content_block_delta"):
    index: int
    delta: _Delta


class _MessageDelta(Struct, tag="message_delta"):
    delta: _Delta
    usage: _Usage | None = None


class _MessageStop(Struct, tag="message_stop"):
    pass


class _Error(Struct, tag="error"):
    pass


class _Ignored(Struct, tag="ping"):
    pass


class _BlockStop(Struct, tag="content_block_stop"):
    pass


class _Kind(Struct):
    type: str


_Event: TypeAlias = (
    _MessageStart | _BlockStart | _BlockDelta | _BlockStop | _MessageDelta | _MessageStop | _Error | _Ignored
)
_KNOWN = frozenset(struct.__struct_config__.tag for struct in get_args(_Event))
_replies = msgspec.json.Decoder(_InReply)
_events: msgspec.json.Decoder[_Event] = msgspec.json.Decoder(_Event)
_kinds = msgspec.json.Decoder(_Kind)


class AnthropicWire:
    """Messages; the base URL ends before `/v1`, and may end in it.

    A response schema is sent as `output_config`, since models that always think refuse to be forced to call a tool.
    Thinking that came with tool calls goes back with them. Where a server reports no usage, it is estimated.
    """

    name = "anthropic"
    url = "https://api.anthropic.com"
    path = "/v1/messages"

    def __init__(self, *, prompt_cache: bool = True) -> None:
        self._prompt_cache = prompt_cache
        self._thinking = ThinkingMemory()

    def headers(self, key: str | None) -> Mapping[str, str]:
        return {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}

    def encode(self, request: ModelRequest, *, stream: bool) -> bytes:
        return encode_request(request, self._thinking, stream=stream, prompt_cache=self._prompt_cache)

    def decode(self, body: bytes, request: ModelRequest) -> ModelReply:
        try:
            reply = _replies.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadReplyError(f"the reply isn't a message: {error}") from error
        return _to_reply(reply.content, reply.stop_reason, reply.usage, request, self._thinking)

    def draft(self, request: ModelRequest) -> AnthropicDraft:
        return AnthropicDraft(request, self._thinking)


@dataclass(slots=True)
class _BlockDraft:
    """A content block that grows by deltas."""

    start: _Block
    texts: list[str] = field(default_factory=list)
    """The text, thinking or JSON so far, depending on the block's type."""
    signature: str = ""

    def add(self, delta: _Delta) -> None:
        self.texts.append(delta.text or delta.partial_json or delta.thinking or "")
        self.signature += delta.signature or ""

    def whole(self) -> _Block:
        text, start = "".join(self.texts), self.start
        match start.type:
            case "text":
                return _Block("text", text=(start.text or "") + text)
            case "tool_use":
                return _Block("tool_use", id=start.id, name=start.name, input=text or start.input)
            case "thinking":
                signature = self.signature or start.signature
                return _Block("thinking", thinking=(start.thinking or "") + text, signature=signature)
        return start


@dataclass(slots=True)
class AnthropicDraft:
    """A streamed reply while it comes in; see `provider.Draft`."""

    request: ModelRequest
    thinking: ThinkingMemory
    complete: bool = False
    _blocks: dict[int, _BlockDraft] = field(default_factory=dict)
    _usage: _Usage | None = None
    _stop_reason: str | None = None

    def add(self, event: bytes) -> None:
        match _decode_event(event):
            case _MessageStart(message=message):
                self._usage = message.usage or _Usage()
            case _BlockStart(index=index, content_block=block):
                self._blocks[index] = _BlockDraft(block)
            case _BlockDelta(index=index, delta=delta):
                if index not in self._blocks:
                    raise BadReplyError("an event goes on with a block that never began")
                self._blocks[index].add(delta)
            case _MessageDelta(delta=delta, usage=usage):
                self._stop_reason = delta.stop_reason or self._stop_reason
                self._usage = _merged(self._usage or _Usage(), usage or _Usage())
            case _MessageStop():
                self.complete = True
            case _Error():
                raise BadReplyError("the stream ends in an error")

    def reply(self) -> ModelReply:
        if not (self.complete or self._stop_reason) or (self._usage is None and not self._blocks):
            raise BadReplyError("the stream ended before the reply did")
        return _to_reply(self._whole(), self._stop_reason, self._usage, self.request, self.thinking)

    def spent(self) -> TokenUsage | None:
        """The usage so far: Anthropic reports the prompt's when the reply begins, and one token of output."""
        if self._usage is None and not self._blocks:
            return None
        blocks = self._whole()
        said, estimate = _to_usage(self._usage, self.request, blocks), _estimate(self.request, blocks)
        return replace(said, output_tokens=max(said.output_tokens, estimate.output_tokens))

    def _whole(self) -> list[_Block]:
        return [self._blocks[index].whole() for index in sorted(self._blocks)]


def _decode_event(event: bytes) -> _Event:
    """One event; an ignored one for a kind that this version doesn't know."""
    try:
        return _events.decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if _is_new(event):
            return _Ignored()
        raise BadReplyError(f"an event isn't part of a message: {error}") from error


def _is_new(event: bytes) -> bool:
    """Whether the event is of a kind that came after this version: Anthropic adds some within one API version."""
    try:
        return _kinds.decode(event).type not in _KNOWN
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _merged(first: _Usage, later: _Usage) -> _Usage:
    """`later` over `first`, where it says anything: its counts are of the whole reply."""
    said = {name: count for name, count in msgspec.structs.asdict(later).items() if count is not None}
    return msgspec.structs.replace(first, **said)


def _to_reply(
    blocks: list[_Block],
    stop_reason: str | None,
    usage: _Usage | None,
    request: ModelRequest,
    thinking: ThinkingMemory,
) -> ModelReply:
    reply = ModelReply(
        text=_text(blocks),
        usage=_to_usage(usage, request, blocks),
        tool_calls=_calls(blocks),
        finish=_FINISHES.get(stop_reason, "unknown"),
    )
    thinking.keep(request, reply, tuple(_thoughts(blocks)))
    return reply


def _text(blocks: list[_Block]) -> str:
    return "".join(block.text or "" for block in blocks if block.type == "text")


def _calls(blocks: list[_Block]) -> tuple[ToolCall, ...]:
    uses = [block for block in blocks if block.type == "tool_use"]
    return tuple(
        ToolCall(id=block.id or f"call_{number}", name=block.name or "", arguments=_arguments(block.input))
        for number, block in enumerate(uses, 1)
    )


def _arguments(value: Json) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value or {}).decode()


def _thoughts(blocks: list[_Block]) -> Iterable[dict[str, Json]]:
    """The thinking blocks as they came."""
    for block in blocks:
        if block.type == "thinking":
            yield {"type": block.type, "thinking": block.thinking or "", "signature": block.signature or ""}
        elif block.type == "redacted_thinking":
            yield {"type": block.type, "data": block.data or ""}


def _to_usage(usage: _Usage | None, request: ModelRequest, blocks: list[_Block]) -> TokenUsage:
    """The usage that was reported, with an estimate for what is missing; a prompt of zero tokens counts as missing."""
    usage = usage or _Usage()
    cached_tokens, write_tokens = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    input_tokens = (usage.input_tokens or 0) + cached_tokens + write_tokens
    output_tokens = usage.output_tokens
    if not input_tokens or output_tokens is None:
        estimate = _estimate(request, blocks)
        input_tokens = input_tokens or estimate.input_tokens
        output_tokens = estimate.output_tokens if output_tokens is None else output_tokens
    return TokenUsage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached_tokens,
        cache_write_tokens=write_tokens,
    )


def _estimate(request: ModelRequest, blocks: list[_Block]) -> TokenUsage:
    return estimate_usage(request, _text(blocks), _calls(blocks))
