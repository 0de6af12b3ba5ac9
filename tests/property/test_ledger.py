"""Random trees of completions that all spend what they are granted: no cap is passed, nothing is lost or stuck."""

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from rlm.core.budget import Budget, CallEstimate, Ledger
from rlm.core.exceptions import LimitReached
from rlm.core.types import TokenUsage


async def _work(ledger, rng, spent):
    """One completion: some calls, in batches, failing and cancelled ones among them, and some children."""
    jobs = [_call(ledger, rng, spent) for _ in range(rng.randint(0, 4))]
    if ledger.depth < 3 and rng.random() < 0.7:
        jobs += [_work(ledger.child(), rng, spent) for _ in range(rng.randint(1, 3))]
    tasks = [asyncio.ensure_future(job) for job in jobs]
    if tasks and rng.random() < 0.2:
        await asyncio.sleep(0)
        rng.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _call(ledger, rng, spent):
    estimate = CallEstimate(input_tokens=rng.randint(1, 300), max_output_tokens=rng.choice([64, 600, 4000]))
    try:
        reservation = await ledger.reserve(estimate)
    except LimitReached:
        return
    try:
        for _ in range(rng.randint(0, 3)):
            await asyncio.sleep(0)
        if rng.random() < 0.8:
            usage = TokenUsage(input_tokens=estimate.input_tokens, output_tokens=reservation.max_output_tokens)
            reservation.settle(usage, 0.0)
            spent.append(usage.total_tokens)
    finally:
        reservation.release()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(600, 60_000))
def test_no_tree_outspends_its_budget(seed, cap):
    root, spent = Ledger(Budget(token_budget=cap)), []
    asyncio.run(asyncio.wait_for(_work(root, random.Random(seed), spent), 20))
    usage = root.usage()
    assert usage.input_tokens + usage.output_tokens == sum(spent) <= cap
    assert usage.model_calls == len(spent)
    assert root.left_tokens() == cap - sum(spent)
