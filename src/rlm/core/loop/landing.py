"""The end of a completion that reached a limit: one last call for the best answer, from what was set aside for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rlm.core import prompts
from rlm.core.budget import MIN_OUTPUT_TOKENS
from rlm.core.calls.model import LANDING, ModelCall, ask_model, request_to
from rlm.core.events import Warned
from rlm.core.exceptions import OutputValidationError, RLMError, TimeLimitReached
from rlm.core.off_loop import off_loop_if_large
from rlm.core.types import Final, Message

if TYPE_CHECKING:
    from rlm.core.dialects import Landing
    from rlm.core.exceptions import LimitReached
    from rlm.core.loop.completion import Completion

LANDING_S = 30.0
"""The longest a landing may take, in seconds, unless the model is slower than that."""


async def land(completion: Completion, reason: LimitReached) -> Final:
    """Ask for the best answer; where that is impossible, take the best there is. Where time is up, that is what a cell
    printed last: whatever the model said was on its way to that.
    """
    try:
        async with completion.task.clock.within(_most_s(completion)):
            return await _ask(completion, reason)
    except (RLMError, TimeoutError) as error:
        why = str(error) if isinstance(error, RLMError) else "it took too long"
        note = f"the model gave no last answer: {why}"
        completion.run.recorder.record(completion.task.scope.span, Warned(message=note))
        is_late = isinstance(reason, TimeLimitReached)
        printed = completion.printed if is_late and completion.held is None else ""
        return Final(value=None, text=printed or completion.best)


def _most_s(completion: Completion) -> float:
    """The seconds that a landing may take.

    Raises:
        TimeLimitReached: no time is left.
    """
    clock, needed_s = completion.task.clock, max(LANDING_S, completion.task.clock.landing_s, completion.pace.landing_s)
    if not completion.task.is_root:
        return needed_s
    if not clock.left_s:
        raise TimeLimitReached("no time is left")
    return min(clock.left_s, needed_s)


async def _ask(completion: Completion, reason: LimitReached) -> Final:
    last = Message(role="user", content=prompts.render("landing", reason=str(reason)))
    ledger = completion.task.scope.ledger
    room_tokens = ledger.left_tokens(completion.task.model.price) - 2 * MIN_OUTPUT_TOKENS
    messages, input_tokens = completion.conversation.ending(last, room_tokens)
    model = completion.task.model
    request = request_to(model, completion.run.config, messages)
    most_tokens = min(request.max_output_tokens, completion.pace.tokens_in(_most_s(completion)))
    call = ModelCall(
        model=model,
        request=replace(request, max_output_tokens=most_tokens),
        input_tokens=input_tokens,
        purpose=LANDING,
        left_out=len(completion.conversation.messages) - len(messages) + 1,
    )
    reply = await ask_model(completion.run, completion.task.scope, call)
    landing = await off_loop_if_large(completion.dialect.land, reply)
    completion.said = landing.text or completion.said  # should the code take too long
    return await _typed(completion, await _landed(completion, landing))


async def _landed(completion: Completion, landing: Landing) -> Final:
    """The answer that the code of a landing gives, while the REPL still lives; else its text, else what it prints."""
    printed = ""
    for cell in landing.cells:
        result = await completion.execute(cell.code, completion.task.scope)
        if result.final is not None:
            return result.final
        printed = completion.printed if result.output.strip() else printed
    text = landing.text or printed or completion.best
    return Final(value=text, text=text)


async def _typed(completion: Completion, final: Final) -> Final:
    """The answer as `output_type` if it fits, else as text alone: a partial answer is better than none."""
    try:
        return await completion.accept(final)
    except OutputValidationError:
        return Final(value=None, text=final.text)
