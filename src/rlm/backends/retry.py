"""Repeats model calls that failed for a passing reason, so that each backend need not. The error alone decides,
and repeats nothing that the provider has answered for good."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeAlias, TypeVar

from rlm.core.exceptions import BackendError, RateLimitError

T = TypeVar("T")

OnRetry: TypeAlias = Callable[[BackendError, float, int], None]
"""`on_retry(error, wait_s, attempt)`: called in the task of the call (so its context variables are the caller's),
before the wait; `attempt` is the one that failed, from 1. It raises `error` where there must be no other attempt."""


def ignore_retry(_error: BackendError, _wait_s: float, _attempt: int) -> None:
    """The hook that does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a call is repeated.

    Waits grow exponentially with full jitter (a uniform draw from zero to the bound), so that many callers who were
    turned away together don't come back together. Source: AWS Architecture Blog, "Exponential Backoff and Jitter".
    """

    max_retries: int = 4
    """The most attempts after the first."""
    base_s: float = 0.5
    """The bound of the first wait, in seconds; it doubles with each attempt."""
    cap_s: float = 30.0
    """The bound of any wait that the provider did not ask for, in seconds."""
    retry_after_cap_s: float = 60.0
    """The longest wait that a provider may ask for, in seconds; a longer one ends the call, as the error says."""

    def wait_s(self, error: BackendError, attempt: int) -> float:
        """How long to wait after `attempt` (from 1) failed: never less than the provider asked for."""
        doublings = 0 if error.retry_after_s is not None else min(attempt - 1, 60)
        bound_s = min(self.cap_s, self.base_s * 2.0**doublings)
        jitter_s = random.uniform(0.0, bound_s)  # noqa: S311 - spreads load, keeps no secret
        return (error.retry_after_s or 0.0) + jitter_s

    def gives_up(self, error: BackendError, attempt: int) -> bool:
        """Whether `error` ends the call."""
        too_long = error.retry_after_s is not None and error.retry_after_s > self.retry_after_cap_s
        return not error.retryable or attempt > self.max_retries or too_long


class RateGate:
    """Holds up the calls of one model while its provider has asked to wait: what one caller was told, all heed, so that
    each need not be turned away itself. One belongs to one account.
    """

    def __init__(self) -> None:
        self._opens_at: dict[str, float] = {}

    def close(self, model: str, seconds: float) -> None:
        """Begin no call of the model for so long; never less than was asked for before."""
        until = asyncio.get_running_loop().time() + seconds
        self._opens_at[model] = max(until, self._opens_at.get(model, 0.0))

    async def passed(self, model: str, spread_s: float) -> None:
        """Wait until calls of the model may begin, and up to `spread_s` more, so that not all begin at once."""
        clock = asyncio.get_running_loop().time
        while (left_s := self._opens_at.get(model, 0.0) - clock()) > 0:  # noqa: ASYNC110 - what is waited for is a time
            await asyncio.sleep(left_s + random.uniform(0.0, spread_s))  # noqa: S311 - spreads load, keeps no secret


async def call_with_retries(
    attempt_once: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    on_retry: OnRetry = ignore_retry,
    *,
    gate: RateGate | None = None,
    model: str = "",
) -> T:
    """Await `attempt_once()` until it succeeds or the policy gives up; cancellation ends it at once, waits included.
    Other calls of `model` by the same `gate` wait too while the provider asks for that.

    Raises:
        BackendError: the last attempt's.
    """
    attempt = 1
    gate = RateGate() if gate is None else gate
    while True:
        await gate.passed(model, policy.base_s)
        try:
            return await attempt_once()
        except BackendError as error:
            if policy.gives_up(error, attempt):
                raise
            wait_s = policy.wait_s(error, attempt)
            if isinstance(error, RateLimitError) and error.retry_after_s:
                gate.close(model, error.retry_after_s)
            on_retry(error, wait_s, attempt)
        await asyncio.sleep(wait_s)
        attempt += 1


def parse_retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """Seconds asked for by a Retry-After header, given as seconds or as an HTTP date; None where it says nothing.

    Source: RFC 9110, section 10.2.3.
    """
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return _seconds_until(text, now or datetime.now(UTC))
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
