"""The messages of one completion, recorded once each as they join, with a running estimate of their tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rlm.core.budget import estimate_message, estimate_tokens
from rlm.core.events import MessageAdded
from rlm.core.types import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rlm.core.record.recorder import Recorder, Span
    from rlm.core.types import ModelReply, ToolSpec


class Conversation:
    """`messages` is what the next request sends; `history` is all there ever was, and only grows."""

    def __init__(self, recorder: Recorder, span: Span, tools: tuple[ToolSpec, ...]) -> None:
        self._recorder = recorder
        self._span = span
        self._messages: list[Message] = []
        self._sizes: list[int] = []
        self._history: list[Message] = []
        self._tool_tokens = _size(tools)
        self.input_tokens = self._tool_tokens
        """An estimate of a request with all messages and the tools."""

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(self._messages)

    @property
    def history(self) -> list[dict[str, str]]:
        """Every message as guest code sees it."""
        return [{"role": message.role, "content": _as_text(message).content} for message in self._history]

    @property
    def told(self) -> Iterator[str]:
        """The text of every message to the model after the instructions, the task first."""
        return (message.content for message in self._history[1:] if message.role != "assistant")

    def texts(self, start: int, end: int) -> list[Message]:
        """Some of `messages`, without tool calls and their ids."""
        return [_as_text(message) for message in self._messages[start:end]]

    def tail_start(self, room_tokens: int) -> int | None:
        """Where the newest messages begin that fit the room and answer nothing before them; None: nothing to drop."""
        start, used = len(self._messages), 0
        for index in range(len(self._messages) - 1, 2, -1):
            used += self._sizes[index]
            if used > room_tokens:
                break
            if self._messages[index].role == "assistant":
                start = index
        return start if start > 3 else None

    def replace_middle(self, start: int, summary: Message) -> int:
        """Put `summary` in the place of all from the third message to before `start`; returns how many those were."""
        dropped = start - 2
        self._messages[2:start] = [summary]
        self._sizes[2:start] = [estimate_tokens(summary.content)]
        self.input_tokens = self._tool_tokens + sum(self._sizes)
        return dropped

    def retell(self, system: Message, tools: tuple[ToolSpec, ...], told: Callable[[Message], Message]) -> None:
        """Begin with `system` instead, and have each message after it as `told` gives it; the history stays."""
        self._messages = [system, *map(told, self._messages[1:])]
        self._sizes = [estimate_message(message) for message in self._messages]
        self._tool_tokens = _size(tools)
        self.input_tokens = self._tool_tokens + sum(self._sizes)

    async def add(self, messages: Iterable[Message]) -> None:
        """Append and record messages of any role but `assistant`."""
        for message in messages:
            self._append(message)
            body = MessageAdded(
                role=message.role,
                content=message.content,
                tool_call_id=message.tool_call_id,
                images=self._recorder.keep(message.images),
            )
            await self._recorder.record_large(self._span, body)

    def add_reply(self, reply: ModelReply) -> None:
        """Append the model's reply; the record has it already, in `model.end`."""
        said = Message(role="assistant", content=reply.text, tool_calls=reply.tool_calls, reasoning=reply.reasoning)
        self._append(said)

    def ending(self, last: Message, room_tokens: int) -> tuple[tuple[Message, ...], int]:
        """The messages of a last request without tools, and their estimated tokens, within about `room_tokens`.

        The beginning (system and task) and `last` always; before it as much of the end as fits, as plain text.
        """
        beginning = self._messages[:2]
        used = sum(self._sizes[:2]) + estimate_tokens(last.content)
        tail: list[Message] = []
        for message, size in zip(reversed(self._messages[2:]), reversed(self._sizes[2:]), strict=True):
            if used + size > room_tokens:
                break
            used += size
            tail.append(_as_text(message))
        return (*beginning, *reversed(tail), last), used

    def _append(self, message: Message) -> None:
        size = estimate_message(message)
        self._messages.append(message)
        self._history.append(message)
        self._sizes.append(size)
        self.input_tokens += size


def _size(tools: tuple[ToolSpec, ...]) -> int:
    """An estimate of the tokens of these tools in a request."""
    return sum(estimate_tokens(spec.name + spec.description + json.dumps(spec.parameters)) for spec in tools)


def _as_text(message: Message) -> Message:
    """A message without tool calls or their ids, which a request without tools may not have."""
    if message.role == "tool":
        return Message(role="user", content=message.content)
    if message.tool_calls:
        calls = "\n".join(f"{call.name}({call.arguments})" for call in message.tool_calls)
        return Message(role="assistant", content=f"{message.content}\n{calls}".strip())
    return message
