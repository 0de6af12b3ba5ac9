"""Reads replies of the Anthropic messages wire, whole or streamed: a list of content blocks, which grow by deltas. Only
what carries content may spoil a reply; what is around it may have any shape, and is passed over where it isn't
understood. It believes nothing that it hasn't checked. Source: https://platform.claude.com/docs/en/api/messages"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from rlm.backends.counts import count_in, first_count
from rlm.backends.estimate import believed_usage, estimate_usage
from rlm.backends.finishes import ending_of, is_failure, said_reason
from rlm.backends.json_text import decode, whole_text
from rlm.backends.tool_calls import with_ids
from rlm.core.exceptions import BadReplyError
from rlm.core.types import Json, ModelReply, ModelRequest, TokenUsage, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.backends.reasoning import ReasoningMemory

_DONE = frozenset({b"done", b"[done]"})
_KINDS = {"text": "text", "name": "tool_use", "thinking": "thinking", "data": "redacted_thinking"}
"""The kind of a block that doesn't say its own, by the field that only this kind has."""
_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def decode_reply(body: bytes, request: ModelRequest, memory: ReasoningMemory) -> ModelReply:
    """The reply in the body of a 200; usage is estimated where the server reports none.

    Raises:
        BadReplyError: it is malformed or of another shape.
    """
    try:
        reply = decode(body)
    except ValueError as error:
        raise BadReplyError(f"the reply isn't a message: {error}") from error
    reply = reply if isinstance(reply, dict) else {}
    content, reason = reply.get("content"), said_reason(reply.get("stop_reason"))
    if content is None and reason is None:
        raise BadReplyError("the reply isn't a message: it has no content")
    return _to_reply(list(_blocks_in(content)), reason, _counts(reply.get("usage")), request, memory)


@dataclass(slots=True)
class _Block:
    """A content block, as it began and with the deltas so far."""

    kind: str
    start: dict[str, Json]
    texts: list[str] = field(default_factory=list)
    """The deltas of text, thinking or JSON, depending on the kind."""
    signatures: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, start: dict[str, Json]) -> _Block:
        kind = start.get("type") or next((kind for name, kind in _KINDS.items() if name in start), "")
        return cls(str(kind), start)

    @property
    def text(self) -> str:
        """What it says or thinks."""
        own = self.start.get("text" if self.kind == "text" else "thinking")
        return whole_text((own if isinstance(own, str) else "") + "".join(self.texts))

    @property
    def signature(self) -> str:
        return "".join(self.signatures) or str(self.start.get("signature") or "")

    @property
    def call(self) -> ToolCall:
        id_, name, given = (self.start.get(field) for field in ("id", "name", "input"))
        arguments = whole_text("".join(self.texts)) or _json_text(given or {})
        return ToolCall(id=str(id_ or ""), name=name if isinstance(name, str) else "", arguments=arguments)

    def is_same_call(self, other: _Block) -> bool:
        """Whether both are the beginning of one call."""
        return self.kind == other.kind == "tool_use" and self.start == other.start and not self.texts

    def add(self, delta: dict[str, Json]) -> None:
        said = next((delta[name] for name in ("text", "partial_json", "thinking") if delta.get(name)), "")
        self.texts.append(_json_text(said))
        if isinstance(signature := delta.get("signature"), str):
            self.signatures.append(signature)


@dataclass(slots=True)
class AnthropicDraft:
    """A streamed reply while it comes in; see `provider.Draft`."""

    request: ModelRequest
    memory: ReasoningMemory
    complete: bool = False
    _blocks: list[_Block] = field(default_factory=list)
    _by_index: dict[int, _Block] = field(default_factory=dict)
    """The last block of each index: some servers give one to several."""
    _usage: dict[str, int] = field(default_factory=dict)
    _reason: str | None = None
    _begun: bool = False

    @property
    def finished(self) -> bool:
        """Whether the reply has said that it ends, so that nothing more of it is needed."""
        return self.complete or (self._reason is not None and not is_failure(self._reason))

    def add(self, data: bytes, name: str = "") -> None:
        if data.strip(b' \t"').lower() in _DONE:  # of OpenAI's wire, in proxies between the two
            self.complete = self._begun
            return
        if data.lstrip()[:1] != b"{":
            return  # it carries nothing
        event = _event_in(data)
        match event.get("type") or name:
            case "message_start":
                self._begin(_object(event.get("message")))
            case "content_block_start":
                self._begin_block(count_in(event.get("index")), _Block.of(_object(event.get("content_block"))))
            case "content_block_delta":
                self._block_of(event).add(_object(event.get("delta")))
            case "message_delta":
                self._reason = said_reason(_object(event.get("delta")).get("stop_reason")) or self._reason
                self._usage |= _counts(event.get("usage"))
            case "message_stop":
                self.complete = True
            case "error":
                raise BadReplyError("the stream ends in an error")

    def reply(self) -> ModelReply:
        if not self.finished or not self._begun:
            raise BadReplyError("the stream ended before the reply did")
        return _to_reply(self._blocks, self._reason, self._usage, self.request, self.memory)

    def cut(self) -> ModelReply:
        return _to_reply(self._blocks, "max_tokens", {}, self.request, self.memory)

    @property
    def written_chars(self) -> int:
        return sum(len(piece) for block in self._blocks for piece in block.texts)

    def spent(self) -> TokenUsage | None:
        """The usage so far: Anthropic reports the prompt's when the reply begins, and one token of output."""
        if not self._begun:
            return None
        said = _to_usage(self._usage, self.request, self._blocks)
        estimate = _estimate(self.request, self._blocks)
        return replace(said, output_tokens=max(said.output_tokens, estimate.output_tokens))

    def _begin(self, message: dict[str, Json]) -> None:
        self._begun = True
        self._usage |= _counts(message.get("usage"))
        self._reason = said_reason(message.get("stop_reason")) or self._reason
        for index, block in enumerate(_blocks_in(message.get("content"))):
            self._begin_block(index, block)

    def _begin_block(self, index: int | None, block: _Block) -> None:
        """Take a block that begins; the same call once more is a repetition."""
        self._begun = True
        known = next((each for each in self._blocks if each.is_same_call(block)), None)
        if known is None:
            self._blocks.append(block)
        if index is not None:
            self._by_index[index] = known or block

    def _block_of(self, event: dict[str, Json]) -> _Block:
        """The block that a delta goes on with: by its index, else the last; text may begin one, since some proxies send
        no start.
        """
        index, delta = count_in(event.get("index")), _object(event.get("delta"))
        last = self._blocks[-1] if self._blocks else None
        known = last if index is None else self._by_index.get(index)
        if known is None and last is not None and last.kind == "tool_use" and "partial_json" in delta:
            known = last
        if known is None:
            if "partial_json" in delta or not delta:
                raise BadReplyError("an event goes on with a block that never began")
            known = _Block("thinking" if "thinking" in delta else "text", {})
            self._begin_block(index, known)
        return known


def _event_in(data: bytes) -> dict[str, Json]:
    try:
        event: dict[str, Json] = decode(data)
    except ValueError as error:
        raise BadReplyError(f"an event isn't part of a message: {error}") from error
    return event


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _counts(usage: Json) -> dict[str, int]:
    """What a usage counts, where it says anything: the counts of a later one are of the whole reply."""
    found = {name: first_count(usage, name) for name in _COUNTS}
    return {name: count for name, count in found.items() if count is not None}


def _blocks_in(content: Json) -> Iterator[_Block]:
    """The blocks of a content, which some servers send as text. Raises:
    BadReplyError: it is neither, or a text in it isn't one.
    """
    if isinstance(content, str):
        content = [content]
    for item in content if isinstance(content, list) else [content]:
        if item is None:
            continue
        block = {"type": "text", "text": item} if isinstance(item, str) else item
        if not isinstance(block, dict) or not isinstance(block.get("text", ""), str | None):
            raise BadReplyError("the reply isn't a message: its content is neither text nor blocks")
        yield _Block.of(block)


def _to_reply(
    blocks: list[_Block],
    reason: str | None,
    usage: dict[str, int],
    request: ModelRequest,
    memory: ReasoningMemory,
) -> ModelReply:
    ending = ending_of(reason, output_tokens=usage.get("output_tokens"), cap_tokens=request.max_output_tokens)
    if ending == "error":
        raise BadReplyError(f"the server gave up within its reply (stop_reason {reason!r})")
    reply = ModelReply(
        text=_text(blocks),
        usage=_to_usage(usage, request, blocks),
        tool_calls=with_ids(_calls(blocks), request, memory),
        finish=ending,
        reasoning="\n\n".join(block.text for block in blocks if block.kind == "thinking" and block.text),
    )
    memory.keep(request, reply, tuple(_thoughts(blocks)))
    return reply


def _text(blocks: list[_Block]) -> str:
    return "".join(block.text for block in blocks if block.kind == "text")


def _calls(blocks: list[_Block]) -> list[ToolCall]:
    return [block.call for block in blocks if block.kind == "tool_use"]


def _json_text(value: Json) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _thoughts(blocks: list[_Block]) -> Iterator[dict[str, Json]]:
    """The thinking blocks as they came; without its signature one is not taken back."""
    for block in blocks:
        if block.kind == "thinking" and block.signature:
            yield {"type": block.kind, "thinking": block.text, "signature": block.signature}
        elif block.kind == "redacted_thinking" and block.start.get("data"):
            yield {"type": block.kind, "data": block.start["data"]}


def _to_usage(usage: dict[str, int], request: ModelRequest, blocks: list[_Block]) -> TokenUsage:
    """The usage that was reported, with an estimate for what is missing or can't be.

    Its `input_tokens` are those that were neither read from the cache nor written to it.
    """
    cached_tokens, written_tokens = (usage.get(name, 0) for name in _COUNTS[2:])
    input_tokens = usage.get("input_tokens", 0) + cached_tokens + written_tokens
    said = input_tokens, usage.get("output_tokens")
    used = believed_usage(request, _written(blocks), _calls(blocks), said)
    if used.input_tokens != input_tokens:
        return used
    return replace(used, cached_tokens=cached_tokens, cache_write_tokens=written_tokens)


def _estimate(request: ModelRequest, blocks: list[_Block]) -> TokenUsage:
    return estimate_usage(request, _written(blocks), _calls(blocks))


def _written(blocks: list[_Block]) -> str:
    """The text and the thinking."""
    return "".join(block.text for block in blocks if block.kind in ("text", "thinking"))
