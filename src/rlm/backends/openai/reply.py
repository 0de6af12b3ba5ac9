"""Reads replies of the OpenAI chat-completions wire, whole or streamed: a whole reply is a message, a stream is one
that grows by deltas. Only what carries content may spoil a reply; what is around it may have any shape, and is passed
over where it isn't understood. It believes nothing that it hasn't checked, and neither sends nor retries."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rlm.backends.counts import count_in, first_count, said_tokens, usd_in
from rlm.backends.estimate import believed_usage
from rlm.backends.finishes import ending_of, is_failure, said_reason
from rlm.backends.json_text import decode, whole_text
from rlm.backends.openai.calls import CallDraft, CallDrafts
from rlm.backends.tool_calls import with_ids
from rlm.core.exceptions import BadReplyError
from rlm.core.types import Json, ModelReply, ModelRequest, TokenUsage, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rlm.backends.reasoning import ReasoningMemory

_DONE = frozenset({b"done", b"[done]"})
_REASONING = ("reasoning_content", "reasoning")
"""The fields in which servers send reasoning as text."""
_GAVE_UP = "the server gave up within its reply (finish_reason {reason})"
_JOINED = ("text", "summary", "data")
"""The fields of a piece of `reasoning_details` that go on in the next piece."""
_TOLD = ("text", "summary")
"""Those of them that are for reading."""


def decode_reply(body: bytes, request: ModelRequest, memory: ReasoningMemory) -> ModelReply:
    """The reply in the body of a 200; usage is estimated where the server reports none.

    Raises:
        BadReplyError: it is malformed or of another shape.
    """
    try:
        reply = decode(body)
    except ValueError as error:
        raise BadReplyError(f"the reply isn't a chat completion: {error}") from error
    choices = _choices(reply) or _all_choices(reply)
    if not choices:
        raise BadReplyError("the reply isn't a chat completion: it has no choices")
    choice = choices[0]
    message, reason = _message_in(choice), said_reason(choice.get("finish_reason"))
    if message is None and reason is None:
        raise BadReplyError("the reply isn't a chat completion: its choice has no message")
    draft = MessageDraft(CallDrafts(request.tools), CallDrafts(request.tools))
    draft.add_whole(message or {})
    return draft.reply(reason, _usage_in(reply), request, memory)


@dataclass(slots=True)
class MessageDraft:
    """A message that grows by deltas."""

    calls: CallDrafts
    legacy: CallDrafts
    """The call in `function_call`, which came before tool calls and isn't followed beside them."""
    content: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    reasoning: dict[str, list[str]] = field(default_factory=dict)
    details: list[dict[str, Json]] = field(default_factory=list)
    extra_content: Json = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said yet, nor called."""
        return not (self.content or self.refusal or self._called())

    @property
    def written_chars(self) -> int:
        """How many characters came so far, reasoning and the arguments of calls included."""
        calls = sum(len(call.name) + len(call.arguments) for call in self._called())
        return calls + sum(map(len, self.texts()))

    def add(self, delta: dict[str, Json]) -> None:
        """Take the next delta. Raises:
        BadReplyError: its content is neither text nor parts.
        """
        self._add(delta, self.calls.add)

    def add_whole(self, message: dict[str, Json]) -> None:
        """Take a whole message. Raises:
        BadReplyError: as `add`.
        """
        self._add(message, self.calls.add_whole)

    def texts(self) -> tuple[str, str]:
        """What was said so far, and what was reasoned."""
        said = whole_text("".join(self.content)) or whole_text("".join(self.refusal))
        detailed = "".join(text for detail in self.details for text in map(detail.get, _TOLD) if isinstance(text, str))
        return said, max(*map("".join, self.reasoning.values()), detailed, "", key=len)

    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls so far, some perhaps without id or name."""
        return tuple(
            ToolCall(id=call.id, name=whole_text(call.name) or self.calls.only_tool, arguments=call.arguments)
            for call in self._called()
        )

    def reply(self, reason: str | None, usage: Json, request: ModelRequest, memory: ReasoningMemory) -> ModelReply:
        """The reply that this message is. Raises:
        BadReplyError: its end says that the server failed, or a call has no name.
        """
        output_tokens = first_count(usage, "completion_tokens", "output_tokens")
        ending = ending_of(reason, output_tokens=output_tokens, cap_tokens=request.max_output_tokens)
        if ending == "error":
            raise BadReplyError(_GAVE_UP.format(reason=reason))
        text, reasoning = self.texts()
        calls = with_ids(self.tool_calls(), request, memory)
        if any(not call.name for call in calls):
            raise BadReplyError("the reply isn't a chat completion: it has a tool call without a name")
        reply = ModelReply(
            text=text,
            usage=to_usage(usage, request, text + reasoning, calls),
            tool_calls=calls,
            finish=ending,
            reasoning=reasoning,
            cost_usd=usd_in(usage.get("cost")) if isinstance(usage, dict) else None,
        )
        memory.keep(request, reply, self._kept())
        return reply

    def _add(self, delta: dict[str, Json], add_call: Callable[[Json], None]) -> None:
        for name, value in delta.items():
            if not value:
                continue
            if name == "content":
                self.content += [value] if isinstance(value, str) else filter(None, _texts_in(value))
            elif name == "tool_calls":
                for call in _listed(value):
                    add_call(call)
            elif name in _REASONING and isinstance(value, str):
                self.reasoning.setdefault(name, []).append(value)
            else:
                self._add_rare(name, value)

    def _add_rare(self, name: str, value: Json) -> None:
        if name == "refusal" and isinstance(value, str):
            self.refusal.append(value)
        elif name == "function_call" and isinstance(value, dict):
            self.legacy.add(value)
        elif name == "extra_content":
            self.extra_content = value
        elif name == "reasoning_details":
            for detail in _listed(value):
                self._add_detail(detail)

    def _add_detail(self, detail: Json) -> None:
        """Take a piece of structured reasoning; pieces of one kind and index that follow each other are one."""
        if not isinstance(detail, dict):
            return
        last = self.details[-1] if self.details else None
        if last is None or any(last.get(name) != detail.get(name) for name in ("type", "index")):
            self.details.append(dict(detail))
            return
        for name, value in detail.items():
            goes_on = name in _JOINED and isinstance(value, str) and isinstance(last.get(name), str)
            last[name] = last[name] + value if goes_on else last.get(name) if value is None else value

    def _called(self) -> list[CallDraft]:
        return self.calls.found() or self.legacy.found()

    def _kept(self) -> tuple[dict[str, Json], ...]:
        """What goes back with the calls: the fields of the message, then those of each call."""
        fields: dict[str, Json] = {name: "".join(texts) for name, texts in self.reasoning.items()}
        if self.details:
            fields["reasoning_details"] = self.details
        if self.extra_content:
            fields["extra_content"] = self.extra_content
        extras = [call.extras for call in self._called()]
        return (fields, *extras) if fields or any(extras) else ()


@dataclass(slots=True)
class OpenAIDraft:
    """A streamed reply while it comes in; see `provider.Draft`."""

    request: ModelRequest
    memory: ReasoningMemory
    complete: bool = False
    _message: MessageDraft = field(init=False)
    _reason: str | None = None
    _usage: Json = None
    _begun: bool = False
    _counted: bool = False
    """Whether the chunk has come that has the usage and no choices, which is the last one."""

    def __post_init__(self) -> None:
        tools = self.request.tools
        self._message = MessageDraft(CallDrafts(tools), CallDrafts(tools))

    @property
    def finished(self) -> bool:
        """Whether the reply has said that it ends, so that nothing more of it is needed."""
        return self.complete or self._counted or self._reason is not None

    def add(self, data: bytes, name: str = "") -> None:  # noqa: ARG002 - this wire names no events
        if data.lstrip()[:1] == b"{":
            self._add_chunk(_chunk_in(data), has_usage=b'"usage"' in data)
        elif data.strip(b' \t"').lower() in _DONE:
            self.complete = True  # anything else, such as `null`, carries nothing

    def reply(self) -> ModelReply:
        if not self._begun or not self.finished:
            raise BadReplyError("the stream ended before the reply did")
        return self._message.reply(self._reason, self._usage, self.request, self.memory)

    def cut(self) -> ModelReply:
        return self._message.reply("length", None, self.request, self.memory)

    @property
    def written_chars(self) -> int:
        return self._message.written_chars

    def spent(self) -> TokenUsage | None:
        if not self._begun:
            return None
        text, reasoning = self._message.texts()
        return to_usage(self._usage, self.request, text + reasoning, self._message.tool_calls())

    def _add_chunk(self, chunk: dict[str, Json], *, has_usage: bool) -> None:
        if has_usage:
            self._usage = _usage_in(chunk) or self._usage
        choices = _choices(chunk)
        self._counted = self._counted or (has_usage and self._usage is not None and self._begun and not choices)
        for choice in choices:
            self._begun = True
            if (reason := said_reason(choice.get("finish_reason"))) is not None:
                self._end(reason)
            delta = _delta_in(choice)
            if delta is not None:
                self._message.add(delta)
            elif self._message.is_empty and (message := _message_in(choice)) is not None:
                self._message.add_whole(message)  # some send it once, at the end

    def _end(self, reason: str) -> None:
        if is_failure(reason):
            raise BadReplyError(_GAVE_UP.format(reason=reason))
        self._reason = reason


def _chunk_in(data: bytes) -> dict[str, Json]:
    try:
        chunk: dict[str, Json] = decode(data)
    except ValueError as error:
        raise BadReplyError(f"an event isn't part of a chat completion: {error}") from error
    return chunk


def _choices(reply: Json) -> list[dict[str, Json]]:
    """The first choice, or its part of a chunk; others were not asked for."""
    return [choice for choice in _all_choices(reply) if not choice.get("index") or not count_in(choice["index"])]


def _all_choices(reply: Json) -> list[dict[str, Json]]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    return [choice for choice in _listed(choices) if isinstance(choice, dict)]


def _message_in(choice: dict[str, Json]) -> dict[str, Json] | None:
    """The message of a choice that isn't streamed, or that is streamed in one piece."""
    if isinstance(message := choice.get("message"), dict):
        return message
    for name in ("message", "text"):
        if isinstance(text := choice.get(name), str):
            return {"content": text}
    return _delta_in(choice)


def _delta_in(choice: dict[str, Json]) -> dict[str, Json] | None:
    delta = choice.get("delta")
    return delta if delta and isinstance(delta, dict) else None


def _listed(value: Json) -> list[Json]:
    """What should be a list, of which some servers send the only item, or nothing."""
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else []


def _texts_in(content: Json) -> Iterator[str]:
    """The texts of a content: one, or those of its parts, without thoughts and what isn't text. Raises:
    BadReplyError: it is something else.
    """
    if content is None:
        return
    if isinstance(content, str):
        yield content
        return
    if not isinstance(content, list | dict):
        raise BadReplyError("the reply isn't a chat completion: its content is neither text nor parts")
    for part in _listed(content):
        if isinstance(part, str):
            yield part
        elif not isinstance(part, dict):
            raise BadReplyError("the reply isn't a chat completion: a part of its content isn't an object")
        elif part.get("type") not in ("thinking", "reasoning"):
            text = part.get("text", part.get("refusal"))
            text = text.get("value") if isinstance(text, dict) else text
            yield text if isinstance(text, str) else ""


def _usage_in(reply: Json) -> Json:
    """The usage in a reply or chunk; Moonshot has it in the choice, Groq beside its own."""
    if not isinstance(reply, dict):
        return None
    places = [reply, *_choices(reply), reply.get("x_groq")]
    usages = [place.get("usage") for place in places if isinstance(place, dict)]
    return next((usage for usage in usages if isinstance(usage, dict) and usage), None)


def to_usage(usage: Json, request: ModelRequest, text: str, calls: tuple[ToolCall, ...]) -> TokenUsage:
    """The usage that was reported, with an estimate for what is missing or can't be."""
    used = believed_usage(request, text, calls, said_tokens(usage))
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    cached_tokens = first_count(details, "cached_tokens")
    if cached_tokens is None:
        cached_tokens = first_count(usage, "prompt_cache_hit_tokens", "cached_tokens")
    cached_tokens = min(cached_tokens or 0, used.input_tokens)
    written_tokens = first_count(details, "cache_write_tokens") or 0
    return replace(
        used,
        cached_tokens=cached_tokens,
        cache_write_tokens=min(written_tokens, used.input_tokens - cached_tokens),
    )
