"""A batch ends after its calls, however often it is cancelled."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from rlm.core.calls.batches import answer_all
from rlm.core.clock import RunClock


class Slow:
    """A call that takes a while to end once it is cancelled."""

    key = "x/1"
    words = "x"

    def __init__(self) -> None:
        self.begun, self.is_ending, self.may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answer(self) -> str:
        self.begun.set()
        while not self.may_end.is_set():
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                self.is_ending.set()
        raise asyncio.CancelledError


async def test_a_batch_that_is_cancelled_twice_waits_for_its_calls() -> None:
    cut: list[str] = []
    counts = {name: lambda *_given: None for name in ("count_failed", "count_answered")}
    ledger = SimpleNamespace(count_subcalls=lambda wanted: wanted, **counts)
    scope: Any = SimpleNamespace(ledger=ledger, known=lambda _keys: set(), cut=cut.append)
    slow = Slow()
    batch = asyncio.ensure_future(answer_all(scope, [slow], RunClock()))
    await slow.begun.wait()
    batch.cancel()
    await slow.is_ending.wait()
    batch.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not batch.done()
    slow.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await batch
    assert cut == ["x/1"]
