"""Puts the messages of a conversation in the order that strict servers want: user and assistant take turns, and nobody
speaks between a tool's result and the reply to it. What is said stays as it is; only whose message holds it changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rlm.core.types import IMAGES_PER_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rlm.core.types import Message

_GAP = "\n\n"


def in_turns(messages: Iterable[Message]) -> list[Message]:
    """The messages with neighbours of one role joined, and with what the user says after tools in the last result.

    A user's images stay in a message of their own, since the result of a tool has none.
    """
    turns: list[Message] = []
    for message in messages:
        if turns and _joins(turns[-1], message):
            turns[-1] = _joined(turns[-1], message)
        else:
            turns.append(message)
    return turns


def system_in_task(messages: Sequence[Message]) -> list[Message]:
    """The messages with the system's words at the head of the first of the user's, for models that know no system."""
    system = [message for message in messages if message.role == "system"]
    others = [message for message in messages if message.role != "system"]
    if not system or not others or others[0].role != "user":
        return list(messages)
    text = _GAP.join(message.content for message in (*system, others[0]))
    return [replace(others[0], content=text), *others[1:]]


def _joins(before: Message, after: Message) -> bool:
    if after.role == "user" and before.role == "tool":
        return not after.images
    if before.role != after.role or before.role == "tool" or before.tool_calls:
        return False
    return len(before.images) + len(after.images) <= IMAGES_PER_MESSAGE


def _joined(before: Message, after: Message) -> Message:
    text = _GAP.join(part for part in (before.content, after.content) if part.strip())
    return replace(
        before,
        content=text,
        images=before.images + after.images,
        tool_calls=after.tool_calls,
        reasoning=after.reasoning or before.reasoning,
    )
