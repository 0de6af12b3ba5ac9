"""Keeps the reasoning that came with tool calls until the calls are answered: models that reason between calls want it
back, unchanged and in its place. It is opaque here, never shown, and no part of a conversation's record."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm.core.types import Json, Message, ModelReply, ModelRequest

KEPT_CHARS = 32_000_000


@dataclass(frozen=True, slots=True)
class _Thought:
    model: str
    position: int
    """The number of messages before the one that the reasoning belongs to."""
    before: Message
    """The last of these messages."""
    blocks: tuple[dict[str, Json], ...]
    size_chars: int


class ReasoningMemory:
    """Reasoning, by the id of the first tool call after it; the oldest is dropped when there is too much."""

    def __init__(self, kept_chars: int = KEPT_CHARS) -> None:
        self._kept_chars = kept_chars
        self._thoughts: OrderedDict[str, _Thought] = OrderedDict()
        self._size_chars = 0

    def __contains__(self, call_id: object) -> bool:
        """Whether something is kept by that id, which must not be another call's too."""
        return call_id in self._thoughts

    def keep(self, request: ModelRequest, reply: ModelReply, blocks: tuple[dict[str, Json], ...]) -> None:
        """Keep the `blocks` of reasoning in the reply to `request`."""
        if not blocks or not reply.tool_calls:
            return
        size_chars = sum(len(str(value)) for block in blocks for value in block.values())
        thought = _Thought(request.model, len(request.messages), request.messages[-1], blocks, size_chars)
        self._thoughts[reply.tool_calls[0].id] = thought
        self._size_chars += size_chars
        while self._size_chars > self._kept_chars:
            self._size_chars -= self._thoughts.popitem(last=False)[1].size_chars

    def before(self, request: ModelRequest, position: int) -> tuple[dict[str, Json], ...]:
        """The blocks that led to the message at `position`; empty if there were none, or earlier messages changed.

        For providers that refuse reasoning whose prefix has changed: that of a shortened conversation stays out.
        """
        thought = self._found(request, request.messages[position])
        if thought is None or thought.position != position:
            return ()
        return thought.blocks if request.messages[position - 1] is thought.before else ()

    def of(self, request: ModelRequest, message: Message) -> tuple[dict[str, Json], ...]:
        """The blocks that led to a message of `request`, whatever is before it now."""
        thought = self._found(request, message)
        return () if thought is None else thought.blocks

    def _found(self, request: ModelRequest, message: Message) -> _Thought | None:
        thought = self._thoughts.get(message.tool_calls[0].id) if message.tool_calls else None
        return None if thought is None or thought.model != request.model else thought
