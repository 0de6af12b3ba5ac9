"""What guests of one context share: made once, remade when lost, ended when forgotten."""

from __future__ import annotations

import asyncio

import pytest

from rlm.core.contexts.context import Context
from rlm.repl.shares import Shares
from tests.unit.repl.test_pool import Maker

CONTEXT = Context.empty()


def shares_of(maker: Maker) -> Shares:
    return Shares(lambda _context: maker())


async def test_guests_that_ask_at_one_time_get_one_item() -> None:
    maker = Maker()
    shares = shares_of(maker)
    first, second = await asyncio.gather(shares.get(CONTEXT), shares.get(CONTEXT))
    assert first is second is await shares.get(CONTEXT)
    assert maker.begun == 1


async def test_one_that_died_is_closed_and_made_anew() -> None:
    maker = Maker()
    shares = shares_of(maker)
    first = await shares.get(CONTEXT)
    first.is_alive = False
    assert (await shares.get(CONTEXT)).number == 1
    assert first.closed.is_set()


async def test_one_that_failed_is_tried_again() -> None:
    maker = Maker(failures=1)
    shares = shares_of(maker)
    with pytest.raises(OSError, match="no room"):
        await shares.get(CONTEXT)
    assert (await shares.get(CONTEXT)).number == 0


async def test_a_guest_that_is_cancelled_spoils_nothing_for_another() -> None:
    maker = Maker()
    maker.gate.clear()
    shares = shares_of(maker)
    asking = [asyncio.create_task(shares.get(CONTEXT)) for _ in range(2)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.gather(asking[0], return_exceptions=True)
    maker.gate.set()
    assert (await asking[1]).number == 0


async def test_what_is_forgotten_while_it_is_made_is_ended() -> None:
    maker = Maker()
    maker.gate.clear()
    shares = shares_of(maker)
    asking = asyncio.create_task(shares.get(CONTEXT))
    await asyncio.sleep(0)
    forgetting = asyncio.create_task(shares.forget(CONTEXT))
    maker.gate.set()
    await forgetting
    assert (await asking).closed.is_set()
    await shares.forget(CONTEXT)


async def test_closing_ends_every_item() -> None:
    maker = Maker()
    shares = shares_of(maker)
    items = [await shares.get(context) for context in (CONTEXT, Context(kind="text"))]
    await shares.aclose()
    assert [item.closed.is_set() for item in items] == [True, True]
