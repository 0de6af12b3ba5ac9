"""How much of a run's time its turns, its sub-calls and its landing have."""

from __future__ import annotations

import asyncio
import contextlib
import math

import pytest

from rlm.core.clock import RunClock
from tests.support.virtual_time import run_virtually


def made(timeout_s: float | None, *replies_s: float) -> RunClock:
    async def make() -> RunClock:
        clock = RunClock(timeout_s)
        for reply_s in replies_s:
            clock.heard(reply_s)
        return clock

    return run_virtually(make())


@pytest.mark.parametrize(
    ("timeout_s", "replies_s", "landing_s"),
    [
        (600.0, [], 150.0),
        (600.0, [10.0], 20.0),
        (600.0, [10.0, 40.0, 1.0], 80.0),
        (600.0, [500.0], 150.0),
        (600.0, [0.001], 0.25),
        (0.4, [0.001], 0.1),
    ],
)
def test_a_landing_has_the_time_of_two_of_the_slowest_replies_and_a_quarter_at_most(
    timeout_s: float, replies_s: list[float], landing_s: float
) -> None:
    clock = made(timeout_s, *replies_s)
    assert clock.landing_s == pytest.approx(landing_s)
    assert clock.turns_s == pytest.approx(timeout_s - landing_s)


@pytest.mark.parametrize(("opening_s", "left_s"), [(0.0, 10.0), (0.9, 10.0), (3.0, 8.0), (60.0, 0.0)])
def test_a_slow_opening_is_part_of_the_time(opening_s: float, left_s: float) -> None:
    async def left() -> float:
        return RunClock(10.0, opening_s=opening_s).left_s

    assert run_virtually(left()) == pytest.approx(left_s)


def test_without_a_limit_nothing_ends() -> None:
    clock = made(None, 5.0)
    assert (clock.landing_s, clock.turns_s, clock.answers_left_s, clock.left_s) == (0.0, None, None, math.inf)


def test_the_end_of_the_turns_moves_while_they_run() -> None:
    async def turns() -> float:
        clock = RunClock(10.0)
        with contextlib.suppress(TimeoutError):
            async with clock.turns():
                await asyncio.sleep(2.0)
                clock.heard(1.0)
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtually(turns()) == pytest.approx(8.0)


def test_sub_calls_end_a_little_before_the_turns_and_never_take_less_than_no_time() -> None:
    async def left() -> list[float | None]:
        clock = RunClock(100.0)
        clock.heard(5.0)
        first = clock.answers_left_s
        await asyncio.sleep(95.0)
        return [first, clock.answers_left_s]

    assert run_virtually(left()) == [pytest.approx(87.0), 0.0]


def test_while_a_clock_stands_no_limit_passes_and_nothing_is_to_begin() -> None:
    async def stood() -> tuple[float, float, bool]:
        clock = RunClock(10.0)
        clock.heard(1.0)
        loop = asyncio.get_running_loop()
        loop.call_later(3.0, clock.stop)
        loop.call_later(103.0, clock.go_on)
        went_on = 0.0
        with contextlib.suppress(TimeoutError):
            async with clock.turns():
                await asyncio.sleep(4.0)
                assert clock.is_stopped
                await clock.going()
                went_on = loop.time()
                await asyncio.Event().wait()
        return went_on, loop.time(), clock.elapsed_s == pytest.approx(8.0)

    assert run_virtually(stood()) == (pytest.approx(103.0), pytest.approx(108.0), True)


def test_another_limit_holds_from_the_beginning_of_the_run() -> None:
    async def moved() -> float:
        clock = RunClock(10.0)
        asyncio.get_running_loop().call_later(2.0, clock.limit_to, 4.0)
        with pytest.raises(TimeoutError):
            async with clock.within(100.0), clock.turns():
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtually(moved()) == pytest.approx(3.0)
