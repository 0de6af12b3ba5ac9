"""The end of a completion that reached a limit: one last call for the best answer, from what was set aside for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rlm.core import prompts
from rlm.core.budget import MIN_OUTPUT_TOKENS
from rlm.core.calls.model import LANDING, ModelCall, ask_model, request_to
from rlm.core.dialects import Cell, landing_answer
from rlm.core.events import Warned
from rlm.core.exceptions import OutputValidationError, RLMError, TimeLimitReached
from rlm.core.off_loop import off_loop_if_large
from rlm.core.types import Final, Message

if TYPE_CHECKING:
    from rlm.core.exceptions import LimitReached
    from rlm.core.loop.completion import Completion

LANDING_S = 30.0
"""The longest a landing may take, in seconds, unless the model is slower than that."""


async def land(completion: Completion, reason: LimitReached) -> Final:
    """Ask for the best answer; where that is impossible, take the best there is. Where time is up, that is what a cell
    printed last: whatever the model said was on its way to that.
    """
    try:
        async with asyncio.timeout(_most_s(completion)):
            return await _ask(completion, reason)
    except (RLMError, TimeoutError) as error:
        note = f"no last answer could be asked for: {type(error).__name__}: {error}"
        completion.run.recorder.record(completion.task.scope.span, Warned(message=note))
        is_late = isinstance(reason, TimeLimitReached)
        return Final(value=None, text=(completion.printed if is_late else "") or completion.best)


def _most_s(completion: Completion) -> float:
    """The seconds that a landing may take.

    Raises:
        TimeLimitReached: no time is left.
    """
    clock = completion.task.clock
    if not completion.task.is_root:
        return LANDING_S
    if not clock.left_s:
        raise TimeLimitReached("no time is left")
    return min(clock.left_s, max(LANDING_S, clock.landing_s))


async def _ask(completion: Completion, reason: LimitReached) -> Final:
    last = Message(role="user", content=prompts.render("landing", reason=str(reason)))
    ledger = completion.task.scope.ledger
    room_tokens = ledger.left_tokens(completion.task.model.price) - 2 * MIN_OUTPUT_TOKENS
    messages, input_tokens = completion.conversation.ending(last, room_tokens)
    model = completion.task.model
    call = ModelCall(
        model=model,
        request=request_to(model, completion.run.config, messages),
        input_tokens=input_tokens,
        purpose=LANDING,
        left_out=len(completion.conversation.messages) - len(messages) + 1,
    )
    reply = await ask_model(completion.run, completion.task.scope, call)
    step = await off_loop_if_large(landing_answer, reply)
    if isinstance(step, Cell):
        final = await _variable(completion, step)
    else:
        text = step.text or completion.best
        final = Final(value=text, text=text)
    return await _typed(completion, final)


async def _variable(completion: Completion, step: Cell) -> Final:
    """The value of FINAL_VAR, while the REPL still lives."""
    result = await completion.execute(step.code, completion.task.scope)
    return result.final or Final(value=None, text=completion.best)


async def _typed(completion: Completion, final: Final) -> Final:
    """The answer as `output_type` if it fits, else as text alone: a partial answer is better than none."""
    try:
        return await completion.accept(final)
    except OutputValidationError:
        return Final(value=None, text=final.text)
