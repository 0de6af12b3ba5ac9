"""Shortens a conversation that nears the model's window: notes by the model take the place of its middle.

Nothing is lost: the record has every message, and guest code finds them all in `history`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core import prompts
from rlm.core.budget import estimate_message
from rlm.core.calls.model import ModelCall, ask_model, request_to
from rlm.core.dialects import plain_reply, shorten
from rlm.core.events import Compaction
from rlm.core.exceptions import BackendError
from rlm.core.types import Message

if TYPE_CHECKING:
    from rlm.core.loop.conversation import Conversation
    from rlm.core.replay.scope import Scope
    from rlm.core.run import Run, Task

FULL = 0.8
"""The share of the window from which on a conversation is shortened, output cap included."""
KEPT = 4
"""One part in so many of the conversation stays as it is, at its end."""

COMPACTION = "compaction"
"""The purpose of the call for the notes."""

_NOTES_LOST = "(No notes could be taken.)"


def is_full(run: Run, task: Task, conversation: Conversation) -> bool:
    """Whether the next request would come near the model's window; never where that is unknown."""
    window = task.model.traits.context_window_tokens
    if window is None:
        return False
    return conversation.input_tokens + min(run.config.max_output_tokens, window // 4) > FULL * window


async def compact(run: Run, task: Task, conversation: Conversation, scope: Scope) -> bool:
    """Replace the middle of the conversation by notes; False where there is nothing left to replace.

    Raises:
        LimitReached: the call for the notes does not fit the budget.
    """
    start = conversation.tail_start(conversation.input_tokens // KEPT)
    if start is None:
        return False
    notes = await _take_notes(run, task, conversation, start, scope)
    summary = Message(role="user", content=prompts.render("compacted", notes=notes))
    dropped = conversation.replace_middle(start, summary)
    run.recorder.record(task.scope.span, Compaction(dropped=dropped, content=summary.content))
    return True


async def _take_notes(run: Run, task: Task, conversation: Conversation, start: int, scope: Scope) -> str:
    messages = _request(conversation, start)
    call = ModelCall(
        model=task.model,
        request=request_to(task.model, run.config, messages),
        input_tokens=sum(map(estimate_message, messages)),
        purpose=COMPACTION,
    )
    try:
        return plain_reply((await ask_model(run, scope, call)).text).strip() or _NOTES_LOST
    except BackendError:
        return _NOTES_LOST


def _request(conversation: Conversation, start: int) -> tuple[Message, ...]:
    """The beginning and the middle, cut to half of what the conversation is now, and the demand for notes."""
    beginning, middle = conversation.messages[:2], conversation.texts(2, start)
    limit_chars = max(200, conversation.input_tokens * 3 // 2 // max(1, len(middle)))
    shortened = [Message(role=each.role, content=shorten(each.content, limit_chars)) for each in middle]
    return (*beginning, *shortened, Message(role="user", content=prompts.render("compaction")))
