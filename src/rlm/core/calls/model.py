"""The one way to a model: room in the ledger, a place among the requests, the call, the settlement, the record."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.budget import CallEstimate, Reservation
from rlm.core.events import ModelEnd, ModelRetry, ModelStart
from rlm.core.exceptions import BackendError
from rlm.core.memo import Answered
from rlm.core.replay.record import revived, was_given_up
from rlm.core.replay.serving import cut_off, reply_of
from rlm.core.types import Image, Json, Message, ModelReply, ModelRequest, TokenUsage, ToolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.budget import Ledger
    from rlm.core.config import Config
    from rlm.core.record.recorder import Recorder, Span
    from rlm.core.replay.record import Recorded
    from rlm.core.replay.serving import Place
    from rlm.core.run import Model, Run

LANDING = "landing"
"""The purpose of the last call; at the root it may use what was set aside for it."""

_call_in_progress: ContextVar[tuple[Recorder, Span] | None] = ContextVar("call_in_progress", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One call to make."""

    model: Model
    messages: tuple[Message, ...]
    input_tokens: int
    """An estimate of the prompt."""
    purpose: str
    """turn, landing or llm_query."""
    tools: tuple[ToolSpec, ...] = ()
    response_schema: Mapping[str, Json] | None = None
    prompt: str | None = None
    """For the record, where the conversation isn't in it already."""
    images: tuple[Image, ...] = ()
    """Those that go with `prompt`, for the record too."""
    key: str | None = None
    """By which a resumed run finds it; the purpose where there is but one of it in a turn."""
    digest: str | None = None
    """Of a sub-call that identical ones are answered like."""


def call_key(call: ModelCall, config: Config) -> str:
    """What makes two calls the same, as a digest."""
    messages = [
        (message.role, message.content, *(image.digest for image in message.images)) for message in call.messages
    ]
    options = (
        call.model.label,
        call.model.origin,
        messages,
        call.response_schema,
        config.temperature,
        config.max_output_tokens,
    )
    return hashlib.sha256(repr(options).encode("utf-8", "surrogatepass")).hexdigest()


async def ask_model(run: Run, ledger: Ledger, place: Place, call: ModelCall) -> ModelReply:
    """The reply to a call as the record has it, else as `call_model` gives it.

    Raises:
        LimitReached, BackendError, RecordError: as `call_model`, now or in the record.
        Halt: it is not what was asked here in the record.
    """
    if (served := await serve_model(run, ledger, place, call)) is not None:
        return served.reply
    place.go_live(call.prompt or call.purpose)
    return await call_model(run, ledger, place.span.child(), call)


async def serve_model(run: Run, ledger: Ledger, place: Place, call: ModelCall) -> Answered | None:
    """The reply that the record has to this call, recorded again; None where it has none.

    Raises:
        BackendError: the call failed in the record.
    """
    while (recorded := place.next(call.key or call.purpose, "model")) is not None:
        if (reply := await _recorded_reply(run, ledger, place, call, recorded)) is not None:
            return Answered(reply=reply, span=recorded.id)
    return None


async def _recorded_reply(
    run: Run, ledger: Ledger, place: Place, call: ModelCall, recorded: Recorded
) -> ModelReply | None:
    """None: it never came, and the call is to be made again."""
    if recorded.end is None:
        run.recall.warn(f"a call of {call.model.label} was under way when the run was cut off: it is made again")
        run.recall.charge(recorded, ledger, call.model.price)
        return None
    end: ModelEnd = run.recall.read(recorded.end)
    if end.error is not None and not was_given_up(end) and place.led_to_nothing(recorded):
        return None  # it failed, nothing was billed, and the run failed by it: try again
    run.recorder.keep(call.images)
    run.recall.copy(recorded, ledger)
    if was_given_up(end):
        if place.is_sealed and not place.has(recorded.key or ""):  # else a resumed run made it again
            await cut_off()
        return None
    if end.error is not None:
        raise revived(end.error)
    if end.same_as is not None:
        return run.recall.reply_to(end.same_as)
    return reply_of(end)


async def call_model(run: Run, ledger: Ledger, span: Span, call: ModelCall) -> ModelReply:
    """Make one model call under the budget, and record it as `span`.

    Raises:
        LimitReached: its worst case does not fit the budget; nothing was sent.
        BackendError: it failed; nothing was charged.
        asyncio.CancelledError: it was given up on; its worst case was charged, for the provider may bill it.
        RecordError: the record can't be written, so nothing may be paid.
    """
    async with run.requests:
        estimate = CallEstimate(
            input_tokens=call.input_tokens,
            max_output_tokens=run.config.max_output_tokens,
            price=call.model.price,
        )
        reservation = await ledger.reserve(estimate, landing=call.purpose == LANDING and ledger.parent is None)
        try:
            run.recorder.check()
            return await _make(run, span, call, reservation)
        finally:
            reservation.release()


async def _make(run: Run, span: Span, call: ModelCall, reservation: Reservation) -> ModelReply:
    run.recorder.record(
        span,
        ModelStart(
            model=call.model.label,
            purpose=call.purpose,
            max_output_tokens=reservation.max_output_tokens,
            input_tokens_estimate=call.input_tokens,
            prompt=call.prompt,
            images=run.recorder.keep(call.images),
            key=call.key or call.purpose,
            digest=call.digest,
        ),
    )
    token = _call_in_progress.set((run.recorder, span))
    try:
        reply = await call.model.backend.call(_request(run, call, reservation))
    except BackendError as error:
        run.recorder.record(span, ModelEnd(error=f"{type(error).__name__}: {error}"))
        raise
    except BaseException as error:  # given up on: the provider has the request, and will not say what it bills
        worst = TokenUsage(input_tokens=call.input_tokens, output_tokens=reservation.max_output_tokens)
        cost_usd = None if call.model.price is None else call.model.price.cost_usd(worst)
        reservation.settle(worst, cost_usd)
        end = ModelEnd(usage=worst, cost_usd=cost_usd, error=f"{type(error).__name__}: {error}")
        run.recorder.record(span, end)
        raise
    finally:
        _call_in_progress.reset(token)
    cost_usd = _cost_usd(call.model, reply)
    reservation.settle(reply.usage, cost_usd)
    run.recorder.record(
        span,
        ModelEnd(
            text=reply.text,
            tool_calls=list(reply.tool_calls),
            usage=reply.usage,
            finish=reply.finish,
            cost_usd=cost_usd,
        ),
    )
    return reply


def note_retry(error: BackendError, wait_s: float, attempt: int) -> None:
    """Record a failed attempt of the call that the current task is making; backends are given this."""
    if (current := _call_in_progress.get()) is not None:
        recorder, span = current
        recorder.record(span, ModelRetry(error=f"{type(error).__name__}: {error}", wait_s=wait_s, attempt=attempt))


def _request(run: Run, call: ModelCall, reservation: Reservation) -> ModelRequest:
    return ModelRequest(
        model=call.model.name,
        messages=call.messages,
        max_output_tokens=reservation.max_output_tokens,
        tools=call.tools,
        temperature=run.config.temperature,
        response_schema=call.response_schema,
    )


def _cost_usd(model: Model, reply: ModelReply) -> float | None:
    if reply.cost_usd is not None:
        return reply.cost_usd
    return None if model.price is None else model.price.cost_usd(reply.usage)
