"""The one way to a model: the reply that an identical sub-call had, or else room in the ledger, a place among the
requests, the call, the settlement, the record."""

from __future__ import annotations

import asyncio
import hashlib
import math
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.budget import BYTES_PER_TOKEN, CallEstimate
from rlm.core.error_texts import error_text, revived
from rlm.core.events import ModelEnd, ModelRetry, ModelStart, Warned
from rlm.core.exceptions import BackendError, SubcallInputTooLarge
from rlm.core.foreign import Escaped, outcome_of
from rlm.core.memo import Answered
from rlm.core.off_loop import off_loop_if_large
from rlm.core.replay.scope import Call, Earlier, Scope
from rlm.core.types import Charge, Json, Message, ModelReply, ModelRequest, ToolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.budget import Ledger, Reservation
    from rlm.core.config import Config
    from rlm.core.record.recorder import Recorder, Span
    from rlm.core.run import Model, Run

TURN = "turn"
"""The purpose of a call with the whole conversation."""
LANDING = "landing"
"""The purpose of the last call; at the root it may use what was set aside for it."""
LLM_QUERY = "llm_query"
"""The purpose of a sub-call."""

SURELY = 0.75
"""The share of an estimate that a prompt has at least: English takes four bytes to a token, not three."""
PART_CHARS = 100_000
"""The most characters of a part that a model reads well."""
SPLIT = "split it: llm_query_batched asks about many parts at once"
_TOO_LATE = "BackendError: the call was given up while its reply was put on record"

_NO_ROOM = "the call is not repeated: the budget has no room for what another attempt can cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """A request to a model, and what it is made for."""

    model: Model
    request: ModelRequest
    """As it is to be sent; a budget that has no room for its whole output lowers the cap."""
    input_tokens: int
    """An estimate of the prompt."""
    purpose: str
    """turn, compaction, landing or llm_query."""
    key: str | None = None
    """The key of a sub-call, by which a resumed run finds it; others are known by their purpose."""
    digest: str | None = None
    """The salted `call_key` of a sub-call: identical ones have the same reply."""

    left_out: int = 0
    """How many messages of the conversation are not in the request of a landing."""

    @property
    def asked(self) -> Message | None:
        """The message that the record has to keep with the call; None where the conversation is in it already."""
        return None if self.purpose == TURN else self.request.messages[-1]

    @property
    def words(self) -> str:
        """What the call is known by in a record, with its key."""
        return self.request.messages[-1].content if self.purpose == LLM_QUERY else self.purpose


def request_to(
    model: Model,
    config: Config,
    messages: tuple[Message, ...],
    *,
    tools: tuple[ToolSpec, ...] = (),
    response_schema: Mapping[str, Json] | None = None,
) -> ModelRequest:
    """A request under the settings of a run."""
    return ModelRequest(
        model=model.name,
        messages=messages,
        max_output_tokens=config.max_output_tokens,
        tools=tools,
        temperature=config.temperature,
        effort=config.reasoning_effort,
        response_schema=response_schema,
    )


def call_key(call: ModelCall) -> str:
    """What makes two calls the same, as a digest."""
    request = call.request
    messages = [
        (message.role, message.content, *(image.digest for image in message.images)) for message in request.messages
    ]
    options = (
        call.model.label,
        call.model.origin,
        messages,
        request.response_schema,
        request.temperature,
        request.max_output_tokens,
        *([request.effort] if request.effort else ()),
    )
    return hashlib.sha256(repr(options).encode("utf-8", "surrogatepass")).hexdigest()


async def ask_model(run: Run, scope: Scope, call: ModelCall) -> ModelReply:
    """The reply to a call in a scope; see `Scope.answer` and `call_model` for what it raises."""
    asked = Call(
        kind="model",
        key=call.key or call.purpose,
        words=call.words,
        make=partial(_call_or_recall, run, call),
        read=_reply_in,
        cut_off=lambda start: start.given_up(call.model.price),
        again=lambda _redo: f"a call of {call.model.label} was under way when the run was cut off: it is made again",
    )
    return await scope.answer(asked)


def _reply_in(earlier: Earlier) -> ModelReply:
    if earlier.end.error is not None:
        raise revived(earlier.end.error)
    reply: ModelReply = earlier.end.reply
    return reply


def check_size(run: Run, model: Model, input_tokens: int, advice: str = SPLIT) -> None:
    """Refuse the prompt of a sub-call that is too large, before anything is sent.

    Raises:
        SubcallInputTooLarge: it is above the cap, or surely beyond the model's window.
    """
    cap, window = run.config.subcall_input_tokens, model.traits.context_window_tokens
    if cap is not None and input_tokens > cap:
        limit = f"subcall_input_tokens is {cap:,}"
    elif window is not None and SURELY * input_tokens > window:
        limit = f"the window of {model.label} is {window:,}"
    else:
        return
    about = round(input_tokens, -3) if input_tokens >= 10_000 else input_tokens
    raise SubcallInputTooLarge(f"the prompt has about {about:,} tokens, and {limit}: {advice}")


def part_chars(run: Run) -> int:
    """The most characters that a part of the data should have for which a sub-call is asked, beside its question."""
    traits, cap = run.find_model(None).traits, run.config.subcall_input_tokens
    tokens = [each for each in (cap, traits.context_window_tokens) if each is not None]
    room = [each * BYTES_PER_TOKEN for each in tokens] + [traits.prompt_bytes or PART_CHARS * 2]
    return min(PART_CHARS, *(each * 4 // 5 for each in room))


async def _call_or_recall(run: Run, call: ModelCall, scope: Scope) -> ModelReply:
    """Make the call; a sub-call that is identical to another shares the reply of that one."""
    if call.purpose == LLM_QUERY:
        check_size(run, call.model, call.input_tokens)
    if run.memo is None or call.purpose != LLM_QUERY:
        return await call_model(run, scope.ledger, scope.span, call)
    known_as = await off_loop_if_large(call_key, call)
    call = replace(call, digest=scope.digest(known_as))
    answered = await run.memo.answer(known_as, partial(_paid, run, call, scope))
    if not answered.fresh:
        await _note_recalled(run, call, scope.span, answered)
    return answered.reply


async def _paid(run: Run, call: ModelCall, scope: Scope) -> Answered:
    return Answered(reply=await call_model(run, scope.ledger, scope.span, call), span=scope.span.id)


async def _note_recalled(run: Run, call: ModelCall, span: Span, answered: Answered) -> None:
    """Record a call that cost nothing; what another event of the run holds is not written again."""
    known = answered.span is not None
    start = ModelStart(
        model=call.model.label,
        purpose=call.purpose,
        max_output_tokens=0,
        input_tokens_estimate=0,
        **({} if known else _asked(run, call)),
        key=call.key,
        digest=call.digest,
    )
    await run.recorder.record_large(span, start)
    text = "" if known else answered.reply.text
    end = ModelEnd(text=text, finish=answered.reply.finish, cost_usd=0.0, cached=True, same_as=answered.span)
    late = msgspec.structs.replace(end, text="", error=_TOO_LATE)
    await run.recorder.record_large(span, end, otherwise=late)


def _asked(run: Run, call: ModelCall) -> dict[str, Any]:
    """What the record has of the prompt: its text, and its images, which are kept."""
    asked = call.asked
    return {} if asked is None else {"prompt": asked.content, "images": run.recorder.keep(asked.images)}


async def call_model(run: Run, ledger: Ledger, span: Span, call: ModelCall) -> ModelReply:
    """Make one model call under the budget, and record it as `span`.

    Raises:
        LimitReached: its worst case does not fit the budget, or the record is full; nothing was sent.
        BackendError: it failed; what the provider may bill for its attempts was charged.
        asyncio.CancelledError: it was given up on; its worst case was charged, for the provider may bill it.
        RecordError: the record can't be written, so nothing may be paid.
    """
    async with run.requests:
        estimate = CallEstimate(
            input_tokens=call.input_tokens,
            max_output_tokens=call.request.max_output_tokens,
            price=call.model.price,
        )
        reservation = await ledger.reserve(estimate, landing=call.purpose == LANDING and ledger.parent is None)
        try:
            run.recorder.check(None if call.purpose == LANDING else ledger.caps.record_bytes)
            return await _make(run, span, call, reservation)
        finally:
            reservation.release()


async def _make(run: Run, span: Span, call: ModelCall, reservation: Reservation) -> ModelReply:
    start = ModelStart(
        model=call.model.label,
        purpose=call.purpose,
        max_output_tokens=reservation.max_output_tokens,
        input_tokens_estimate=call.input_tokens,
        **_asked(run, call),
        left_out=call.left_out,
        key=call.key or call.purpose,
        digest=call.digest,
    )
    await run.recorder.record_large(span, start)
    attempts = _Attempts(recorder=run.recorder, span=span, start=start, model=call.model, reservation=reservation)
    request = replace(call.request, max_output_tokens=reservation.max_output_tokens)
    token = _attempts_in_progress.set(attempts)

    async def answered() -> ModelReply:
        reply = await call.model.backend.call(request)
        await attempts.succeed(reply)  # here, so that no cancellation comes between a reply and its settlement
        return reply

    try:
        return await outcome_of(answered, attempts.left_behind)
    except Escaped as error:
        attempts.give_up(error)
        raise BackendError(f"the backend of {call.model.label} raised {error}", billed=True) from error
    except BackendError as error:
        attempts.fail(error)
        raise
    except BaseException as error:
        attempts.give_up(error)
        raise
    finally:
        _attempts_in_progress.reset(token)


@dataclass(slots=True, kw_only=True)
class _Attempts:
    """The attempts at one call: each that fails is charged what the provider may bill for it, and the last settles."""

    recorder: Recorder
    span: Span
    start: ModelStart
    model: Model
    reservation: Reservation
    _lost: Charge = field(default_factory=Charge)
    """What the attempts are charged that have failed."""
    _charged: BackendError | None = None
    """The error of the last of them."""
    _next_at: float = 0.0
    """The loop time before which no further attempt is made."""
    _is_over: bool = False

    def retry(self, error: BackendError, wait_s: float, attempt: int) -> None:
        """Charge an attempt, and make room for another.

        Raises:
            BackendError: the same, if the budget has no room.
        """
        charge = self._charge(error)
        self._lost += charge
        self._charged = error
        if charge.usage.total_tokens and not self.reservation.renew(charge):
            self.recorder.record(self.span, Warned(message=_NO_ROOM))
            self.fail(error)
            raise error
        self._next_at = asyncio.get_running_loop().time() + wait_s
        cost_usd = charge.cost_usd if charge.usage.total_tokens else None
        retry = ModelRetry(
            error=error_text(error), wait_s=wait_s, attempt=attempt, usage=charge.usage, cost_usd=cost_usd
        )
        self.recorder.record(self.span, retry)

    async def succeed(self, reply: ModelReply) -> None:
        """Record the reply, and settle what it used."""
        if self._is_over:
            return  # it was given up before
        self._is_over = True
        charge = _charge_of(reply, self.start, self.model)
        total = self._lost + charge
        late = ModelEnd(error=_TOO_LATE, usage=total.usage, finish=reply.finish, cost_usd=total.cost_usd)
        end = ModelEnd(
            text=reply.text,
            reasoning=reply.reasoning,
            tool_calls=list(reply.tool_calls),
            usage=total.usage,
            finish=reply.finish,
            cost_usd=total.cost_usd,
        )
        try:  # the record says what is spent before others may spend what is left of the reservation
            await self.recorder.record_large(self.span, end, otherwise=late)
        finally:
            self.reservation.settle(charge.usage, charge.cost_usd)

    def fail(self, error: BackendError) -> None:
        """Settle what the last attempt may cost, and record that the call failed."""
        self._end(Charge() if error is self._charged else self._charge(error), error, failed=True)

    def give_up(self, error: BaseException) -> None:
        """Settle the worst case, for the provider has the request and will not say what it bills; between two attempts
        there is no such request.
        """
        is_waiting = asyncio.get_running_loop().time() < self._next_at
        self._end(Charge() if is_waiting else Charge.worst(self.start.worst, self.model.price), error, failed=False)

    def left_behind(self) -> None:
        """Record that the backend goes on though its call was cancelled."""
        said = f"the backend of {self.model.label} goes on though its call was cancelled: it was left behind"
        self.recorder.record(self.span, Warned(message=said))

    def _end(self, charge: Charge, error: BaseException, *, failed: bool) -> None:
        if self._is_over:
            return  # by a reply that came all the same, or by an attempt that must not be repeated
        self._is_over = True
        total = self._lost + charge
        is_paid = total.usage.total_tokens > 0
        self.reservation.settle(charge.usage, charge.cost_usd, calls=int(is_paid))
        cost_usd = total.cost_usd if is_paid else None
        end = ModelEnd(usage=total.usage, cost_usd=cost_usd, error=error_text(error), failed=failed and is_paid)
        self.recorder.record(self.span, end)

    def _charge(self, error: BackendError) -> Charge:
        if not error.billed:
            return Charge()
        price = self.model.price
        if error.usage is None:
            return Charge.worst(self.start.worst, price)
        return Charge(usage=error.usage, cost_usd=None if price is None else price.cost_usd(error.usage))


_attempts_in_progress: ContextVar[_Attempts | None] = ContextVar("attempts_in_progress", default=None)


def note_retry(error: BackendError, wait_s: float, attempt: int) -> None:
    """Charge and record a failed attempt at the call that the current task is making; backends are given this.

    Raises:
        BackendError: the same, where the budget has no room for another attempt.
    """
    if (attempts := _attempts_in_progress.get()) is not None:
        attempts.retry(error, wait_s, attempt)


def _charge_of(reply: ModelReply, start: ModelStart, model: Model) -> Charge:
    """What a reply is charged: what its backend says, unless that can't be."""
    used = reply.usage
    if min(used.input_tokens, used.output_tokens, used.cached_tokens, used.cache_write_tokens) < 0:
        return Charge.worst(start.worst, model.price)
    if reply.cost_usd is not None and 0 <= reply.cost_usd < math.inf:
        return Charge(usage=used, cost_usd=reply.cost_usd)
    return Charge(usage=used, cost_usd=None if model.price is None else model.price.cost_usd(used))
