"""`demo`: a scripted stand-in that drives the real loop, sandbox, sub-calls and record with no key and no network. It
is not a language model and says so in each final answer; it knows the messages it is sent and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.backends.demo.asks import read_task
from rlm.backends.demo.formats import recognise
from rlm.backends.demo.plan import (
    BLIND,
    LOOK,
    NOTICE,
    DemoStep,
    plan,
    render_answer,
    render_failure,
    render_step,
    step_mark,
)
from rlm.backends.demo.reading import answer_prompt, is_part
from rlm.backends.estimate import estimate_usage
from rlm.core.exceptions import BadRequestError
from rlm.core.types import Message, ModelReply, ModelRequest, ModelTraits, Price

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.backends import BackendSetup

_TASK = "\n\nTask: "
_TASK_CHARS = 2_000
_SCHEMA = "must be JSON that fits this schema"
_LANDING = "The run ends here"
_FENCE = "```repl\n"
_ANSWERED = "That was taken as the answer"


class DemoBackend:
    """Answers by code in a ```repl fence: first a look at the context, then one step of its plan a turn."""

    on_loop = True

    @classmethod
    def from_setup(cls, setup: BackendSetup) -> DemoBackend:  # noqa: ARG003 - nothing to set
        return cls()

    def traits(self, model: str) -> ModelTraits:  # noqa: ARG002 - the same for all
        return ModelTraits(native_tools=False, price=Price(input_usd=0.0, output_usd=0.0))

    async def call(self, request: ModelRequest) -> ModelReply:
        if request.response_schema is not None or any(_SCHEMA in message.content for message in request.messages[:2]):
            raise BadRequestError("the demo answers in text only; for an output_type take a language model")
        text = _reply_text(request.messages)
        return ModelReply(text=text, usage=estimate_usage(request, text))

    async def aclose(self) -> None:
        """There is nothing to release."""


def _reply_text(messages: Sequence[Message]) -> str:
    last = messages[-1].content
    if any(message.images for message in messages):
        told = f"{BLIND}\n\n{NOTICE}"
        is_turn = messages[0].role == "system" and not last.startswith(_LANDING)
        return render_answer(told) if is_turn else told
    if messages[0].role != "system":
        return answer_prompt(last) if is_part(last) else f"{NOTICE}\n{answer_prompt(last)}"
    if last.startswith(_LANDING):
        return f"The run ended before the demo's plan did.\n\n{NOTICE}"
    return _next_step(messages)


def _next_step(messages: Sequence[Message]) -> str:
    """The reply of this turn: its number is that of the replies to the question before, so no state is kept."""
    results, asked = _results(messages[2:]), messages[1].content
    if not results:
        return render_step(LOOK, 0, last=False)
    answered = [number for number, message in enumerate(messages[:-1]) if message.content.startswith(_ANSWERED)]
    if answered:  # another question, after the answer to the one before; the look stays
        asked = messages[answered[-1] + 1].content
        results = [results[0], *_results(messages[answered[-1] + 2 :])]
    if step_mark(len(results) - 1) not in results[-1].splitlines():
        return render_failure(results[-1])
    steps = _plan(asked, results[0])
    number = len(results)
    step = render_step(steps[number - 1], number, last=number == len(steps))
    return step.replace(_FENCE, f"{_FENCE}answers = []\n", 1) if answered and number == 1 else step


def _plan(asked: str, look: str) -> list[DemoStep]:
    task = asked.rpartition(_TASK)[2]
    head = [line[2:] for line in look.splitlines() if line.startswith("| ")]
    return plan(read_task(task[:_TASK_CHARS]), recognise(head))


def _results(messages: Sequence[Message]) -> list[str]:
    """The messages that answered the replies so far."""
    results: list[str] = []
    for message in messages:
        if message.role == "assistant":
            results.append("")
        elif results:
            results[-1] += message.content + "\n"
    return results
