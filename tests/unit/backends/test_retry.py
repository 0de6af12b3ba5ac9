"""When a call is repeated, how long it waits, and who is told."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from rlm.backends.retry import RateGate, RetryPolicy, call_with_retries, parse_retry_after
from rlm.core.exceptions import BackendConnectionError, BackendError, BadRequestError, RateLimitError

FAST = RetryPolicy(max_retries=2, base_s=0.0)
NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)


class Flaky:
    """Fails by the errors given, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_passing_faults_are_repeated_and_noted() -> None:
    first, second = BackendConnectionError("a"), RateLimitError("b", retry_after_s=0.0)
    notes: list[tuple[BackendError, int]] = []
    answer = await call_with_retries(Flaky(first, second), FAST, lambda e, _wait, attempt: notes.append((e, attempt)))
    assert answer == "done"
    assert notes == [(first, 1), (second, 2)]


async def test_the_last_error_is_raised_when_retries_are_used_up() -> None:
    flaky = Flaky(*(BackendConnectionError(str(number)) for number in range(9)))
    with pytest.raises(BackendConnectionError, match="2"):
        await call_with_retries(flaky, FAST)
    assert flaky.calls == 3


@pytest.mark.parametrize("error", [BadRequestError("no"), RateLimitError("later", retry_after_s=3600.0)])
async def test_what_does_not_pass_or_asks_too_much_patience_ends_the_call(error: BackendError) -> None:
    flaky = Flaky(error)
    with pytest.raises(type(error)):
        await call_with_retries(flaky, FAST)
    assert flaky.calls == 1


async def test_cancellation_ends_the_wait_at_once() -> None:
    waiting = asyncio.Event()
    patient = RetryPolicy(base_s=0.0, retry_after_cap_s=1e9)
    flaky = Flaky(RateLimitError("later", retry_after_s=1e6))
    task = asyncio.create_task(call_with_retries(flaky, patient, lambda *_: waiting.set()))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert flaky.calls == 1


def test_waits_grow_to_the_cap_and_never_undercut_what_was_asked() -> None:
    policy = RetryPolicy(base_s=1.0, cap_s=4.0)
    error = BackendConnectionError("x")
    for attempt, bound_s in [(1, 1.0), (2, 2.0), (3, 4.0), (500, 4.0)]:
        assert all(0.0 <= policy.wait_s(error, attempt) <= bound_s for _ in range(50))
    assert all(9.0 <= policy.wait_s(RateLimitError("x", retry_after_s=9.0), 3) <= 10.0 for _ in range(50))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Sun, 01 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Nov 2026 12:00:30 -0000", 30.0),
        ("Sun, 01 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("1e999", None),
        ("Sun, 99 Nov 2026 12:00:30 GMT", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


async def test_what_one_caller_was_told_all_of_the_same_model_heed() -> None:
    gate, now = RateGate(), asyncio.get_running_loop().time
    told, begun = asyncio.Event(), dict[str, float]()
    asked_s = 0.2

    async def attempt(name: str) -> str:
        begun[name] = now()
        return name

    first = Flaky(RateLimitError("slow down", retry_after_s=asked_s))
    turned_away = asyncio.create_task(call_with_retries(first, FAST, lambda *_: told.set(), gate=gate, model="m"))
    await told.wait()
    told_at = now()
    other = call_with_retries(lambda: attempt("other"), FAST, gate=gate, model="another")
    same = call_with_retries(lambda: attempt("same"), FAST, gate=gate, model="m")
    assert await asyncio.gather(same, other, turned_away) == ["same", "other", "done"]
    assert begun["other"] < begun["same"]
    assert begun["same"] >= told_at + asked_s - 0.01
    assert first.calls == 2


async def test_a_gate_is_closed_for_as_long_as_the_longest_asked() -> None:
    gate, now = RateGate(), asyncio.get_running_loop().time
    gate.close("m", 0.1)
    gate.close("m", 0.0)
    until = now() + 0.09
    await gate.passed("m", 0.0)
    assert now() >= until
