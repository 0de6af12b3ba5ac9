"""The lines that `claude -p` reads and writes: a conversation as one message, and the events of its answer.

It starts nothing and knows no process. What a prompt says can't become a command of the program: a text that begins
with a slash never stands first.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from rlm.backends.finishes import ending_of
from rlm.backends.json_text import encode
from rlm.core.exceptions import BadReplyError
from rlm.core.types import Finish, Image, Json, ModelReply, TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.core.types import Message

CLEAR = b'{"type":"user","message":{"role":"user","content":"/clear"}}\n'
"""The line that makes the program forget the conversation; it answers with a result of a new session."""
PLAIN_SYSTEM = "You answer what the user asks, and say nothing else."
"""The system prompt of a request without one: the program's own is for other work."""
_CONVERSATION = (
    "Below is a conversation between you, the assistant, and the user, one {tag} element for each message. "
    "Write the assistant's next message, as plain text without such an element around it."
)
_QUESTION = "The user's message:\n"


class _Content(Struct, frozen=True, kw_only=True):
    role: str = "user"
    content: list[Json]


class _Line(Struct, frozen=True, kw_only=True, tag="user"):
    message: _Content


class Usage(Struct, frozen=True):
    """Tokens as the Anthropic wire counts them."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None

    def tokens(self) -> TokenUsage:
        read, written = max(0, self.cache_read_input_tokens or 0), max(0, self.cache_creation_input_tokens or 0)
        return TokenUsage(
            input_tokens=max(0, self.input_tokens or 0) + read + written,
            output_tokens=max(0, self.output_tokens or 0),
            cached_tokens=read,
            cache_write_tokens=written,
        )


class _Message(Struct, frozen=True):
    usage: Usage | None = None


class _Delta(Struct, frozen=True):
    type: str | None = None
    text: str | None = None
    stop_reason: str | None = None


class StreamPart(Struct, frozen=True):
    """An event of the model's own stream."""

    type: str
    message: _Message | None = None
    delta: _Delta | None = None
    usage: Usage | None = None


class RateLimit(Struct, frozen=True, rename="camel"):
    """What the program reports of the plan's limits."""

    status: str | None = None
    resets_at: float | None = None
    """When the limit resets, in seconds since 1970."""


class ProgramEvent(Struct, frozen=True):
    """One line that the program writes; of most kinds only `type` matters."""

    type: str
    session_id: str = ""
    event: StreamPart | None = None
    error: Any = None
    """The kind of error, such as `authentication_failed`, of an assistant's message that is one."""
    rate_limit_info: RateLimit | None = None
    is_error: bool = False
    result: str | None = None
    stop_reason: str | None = None
    terminal_reason: str | None = None
    api_error_status: int | None = None
    total_cost_usd: float | None = None
    usage: Usage | None = None


class _Head(Struct, frozen=True):
    type: str


_READ = frozenset({"assistant", "rate_limit_event", "result", "stream_event"})
"""The kinds of events that matter here; others have fields of their own, under any names."""
_HEADS, _EVENTS = msgspec.json.Decoder(_Head), msgspec.json.Decoder(ProgramEvent)


def read_event(line: bytes) -> ProgramEvent:
    """Read one line.

    Raises:
        BadReplyError: the line isn't an event.
    """
    try:
        kind = _HEADS.decode(line).type
        return _EVENTS.decode(line) if kind in _READ else ProgramEvent(type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = line[:80].decode(errors="replace").strip()
        raise BadReplyError(f"claude wrote something that isn't one of its events: {shown!r}") from error


def system_prompt(messages: Sequence[Message]) -> str:
    """The system prompt of a request."""
    said = "\n\n".join(message.content for message in messages if message.role == "system" and message.content)
    return said or PLAIN_SYSTEM


def user_line(messages: Sequence[Message]) -> bytes:
    """A conversation as the one message that the program is sent."""
    turns = [message for message in messages if message.role != "system"]
    blocks = list(_question(turns[0]) if len(turns) == 1 and turns[0].role == "user" else _conversation(turns))
    return encode(_Line(message=_Content(content=blocks))) + b"\n"


def _question(message: Message) -> Iterator[Json]:
    """The content for a question alone, which is sent as it is."""
    yield from map(_image, message.images)
    command = not message.content.strip() or message.content.lstrip().startswith("/")
    yield _text(_QUESTION + message.content if command else message.content)


def _conversation(turns: Sequence[Message]) -> Iterator[Json]:
    """A block for each message, in elements whose name occurs in none of them: no text can pretend to be a message."""
    tag = _tag(turns)
    yield _text(_CONVERSATION.format(tag=tag))
    for turn in turns:
        yield from map(_image, turn.images)
        role = "assistant" if turn.role == "assistant" else "user"
        yield _text(f'<{tag} role="{role}">\n{turn.content}\n</{tag}>')


def _tag(turns: Sequence[Message]) -> str:
    number, tag = 1, "message"
    while any(tag in turn.content for turn in turns):
        number, tag = number + 1, f"message-{number + 1}"
    return tag


def _text(said: str) -> Json:
    return {"type": "text", "text": said}


def _image(image: Image) -> Json:
    source = {"type": "base64", "media_type": image.media_type, "data": b64encode(image.data).decode("ascii")}
    return {"type": "image", "source": source}


class ProgramReply:
    """A reply while it arrives: the model's first message, and then the program's own result."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._usage = TokenUsage()
        self._stop: str | None = None
        self._complete = False
        self.kind = ""
        """The kind of error, if the program names one."""
        self.limit: RateLimit | None = None

    def add(self, event: ProgramEvent) -> None:
        """Take in an event other than a result."""
        if event.type == "assistant" and isinstance(event.error, str):
            self.kind = event.error
        if event.rate_limit_info is not None:
            self.limit = event.rate_limit_info
        if event.type == "stream_event" and event.event is not None and not self._complete:
            self._add_part(event.event)

    def _add_part(self, part: StreamPart) -> None:
        if part.type == "message_start" and part.message is not None and part.message.usage is not None:
            self._usage = part.message.usage.tokens()
        if part.delta is not None and part.delta.type == "text_delta":
            self._text.append(part.delta.text or "")
        if part.type == "message_delta":
            self._stop = part.delta.stop_reason if part.delta else None
            self._count(part.usage)
            self._complete = self._stop is not None

    def _count(self, usage: Usage | None) -> None:
        if usage is None:
            return
        said = usage.tokens()
        self._usage = TokenUsage(
            input_tokens=max(said.input_tokens, self._usage.input_tokens),
            output_tokens=max(said.output_tokens, self._usage.output_tokens),
            cached_tokens=max(said.cached_tokens, self._usage.cached_tokens),
            cache_write_tokens=max(said.cache_write_tokens, self._usage.cache_write_tokens),
        )

    @property
    def ends_early(self) -> bool:
        """Whether the message is complete but the program would ask for more: it met the output cap, or is empty."""
        return self._complete and (_finish(self._stop) == "length" or not "".join(self._text).strip())

    def early_reply(self) -> ModelReply:
        """The reply as the message alone gives it; only the result would say what it cost."""
        return ModelReply(text="".join(self._text), usage=self._usage, finish=_finish(self._stop))

    def reply(self, result: ProgramEvent) -> ModelReply:
        """The reply of a result that isn't an error."""
        return ModelReply(
            text=result.result or "",
            usage=result.usage.tokens() if result.usage else self._usage,
            finish=_finish(result.stop_reason or self._stop),
            cost_usd=result.total_cost_usd,
        )


def _finish(stop_reason: str | None) -> Finish:
    ending = ending_of(stop_reason)
    return "unknown" if ending == "error" else ending
