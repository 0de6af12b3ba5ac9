"""Random trees of ledgers that spend what they are granted: no cap of any node is passed at any instant, nothing is
lost or stuck, and the worst that a call can cost is reserved whatever its price is made of."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlm.core.budget import Budget, CallEstimate, Ledger
from rlm.core.exceptions import CostBudgetExhausted, LimitReached, TokenBudgetExhausted
from rlm.core.types import LongPrice, Price, TokenUsage
from tests.support.virtual_time import run_virtually

PRICE = Price(input_usd=3.0, output_usd=15.0)
USD_ERROR = 1e-9

usd = st.floats(0.0, 100.0, allow_subnormal=False)


class Tree:
    """Completions that spend, and books of what each node of the tree has spent or holds."""

    def __init__(self, root, rng):
        self.root = root
        self.rng = rng
        self.spent = []
        self.broken = []

    async def work(self, ledger):
        """One completion: some calls, in batches, failing and cancelled ones among them, and some children."""
        jobs = [self.call(ledger) for _ in range(self.rng.randint(0, 4))]
        if ledger.depth < 3 and self.rng.random() < 0.7:
            jobs += [self.work(ledger.child(self.share())) for _ in range(self.rng.randint(1, 3))]
        tasks = [asyncio.ensure_future(job) for job in jobs]
        for task in tasks:
            if self.rng.random() < 0.1:
                asyncio.get_running_loop().call_later(self.rng.choice([0.0, 0.5, 2.0]), task.cancel)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        self.broken += [each for each in ended if isinstance(each, Exception)]

    def share(self):
        if self.rng.random() < 0.6:
            return None
        return Budget(token_budget=self.rng.choice([None, 700, 5_000, 90_000]), cost_budget_usd=self.rng.random())

    async def call(self, ledger):
        prompt, cap = self.rng.randint(1, 300), self.rng.choice([64, 600, 4000])
        estimate = CallEstimate(input_tokens=prompt, max_output_tokens=cap, price=PRICE)
        try:
            reservation = await ledger.reserve(estimate)
        except LimitReached:
            return
        worst = TokenUsage(input_tokens=prompt, output_tokens=reservation.max_output_tokens)
        check_caps(ledger)
        try:
            await asyncio.sleep(self.rng.random())
            if self.rng.random() < 0.8:
                self.settle(ledger, reservation, worst)
        finally:
            reservation.release()

    def settle(self, ledger, reservation, worst):
        output_tokens = self.rng.choice([worst.output_tokens, self.rng.randint(0, worst.output_tokens)])
        usage = TokenUsage(input_tokens=worst.input_tokens, output_tokens=output_tokens)
        reservation.settle(usage, PRICE.cost_usd(usage))
        self.spent.append(usage)
        check_caps(ledger)


def check_caps(ledger):
    """What is spent and reserved fits every node from `ledger` up to the root."""
    for node in ledger.line():
        tokens = node.usage().input_tokens + node.usage().output_tokens + node._reserved_tokens
        assert node.budget.token_budget is None or tokens <= node.budget.token_budget
        cost_usd = node.cost_usd + node._reserved_cost_usd
        assert node.budget.cost_budget_usd is None or cost_usd <= node.budget.cost_budget_usd + USD_ERROR


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.integers(600, 60_000), st.none() | st.floats(0.001, 1.0))
def test_no_tree_outspends_its_budget_or_any_share_of_it(seed, cap, cap_usd):
    root = Ledger(Budget(token_budget=cap, cost_budget_usd=cap_usd))
    tree = Tree(root, random.Random(seed))
    run_virtually(tree.work(root))
    assert not tree.broken
    total = sum(tree.spent, TokenUsage())
    usage = root.usage()
    assert (usage.input_tokens, usage.output_tokens) == (total.input_tokens, total.output_tokens)
    assert usage.model_calls == len(tree.spent)
    assert root.cost_usd == pytest.approx(sum(map(PRICE.cost_usd, tree.spent)))
    assert (root.left_tokens(), root._reserved_tokens) == (cap - total.total_tokens, 0)


def prices():
    return st.builds(Price, input_usd=usd, output_usd=usd, cached_usd=usd, cache_write_usd=st.none() | usd)


@settings(max_examples=300)
@given(prices(), prices(), st.integers(1, 1_000), st.floats(0.001, 0.2), st.data())
def test_no_call_costs_more_than_was_reserved_for_it(price, dearer, prompt, cap_usd, data):
    above = data.draw(st.integers(1, 1_000))
    price = Price(
        input_usd=price.input_usd,
        output_usd=price.output_usd,
        cache_write_usd=price.cache_write_usd,
        long=LongPrice(above_tokens=above, price=dearer),
    )
    ledger = Ledger(Budget(cost_budget_usd=cap_usd))
    estimate = CallEstimate(input_tokens=prompt, max_output_tokens=2_000, price=price)
    try:
        reservation = run_virtually(ledger.reserve(estimate))
    except CostBudgetExhausted:
        return
    written = data.draw(st.integers(0, prompt))
    usage = TokenUsage(input_tokens=prompt, output_tokens=reservation.max_output_tokens, cache_write_tokens=written)
    assert price.cost_usd(usage) <= cap_usd + USD_ERROR


async def _grants(ledger, sizes, order):
    """Let calls of those prompt sizes come one after the other while one is in flight; note who is granted."""

    async def call(number, size):
        reservation = await ledger.reserve(CallEstimate(input_tokens=size, max_output_tokens=100))
        order.append(number)
        await asyncio.sleep(1)
        reservation.settle(TokenUsage(), 0.0)

    async with asyncio.TaskGroup() as group:
        for number, size in enumerate(sizes):
            group.create_task(call(number, size))
            await asyncio.sleep(0.3)


@given(st.lists(st.integers(1, 900), min_size=1, max_size=30))
def test_no_call_overtakes_one_that_waits(sizes):
    order = []
    run_virtually(_grants(Ledger(Budget(token_budget=1_000)), sizes, order))
    assert order == list(range(len(sizes)))


def test_a_call_that_can_never_fit_is_refused_while_others_are_in_flight():
    ledger = Ledger(Budget(token_budget=10_000))
    run_virtually(ledger.reserve(CallEstimate(input_tokens=10, max_output_tokens=1_000)))
    with pytest.raises(TokenBudgetExhausted):
        run_virtually(ledger.reserve(CallEstimate(input_tokens=10_000, max_output_tokens=1_000)))


async def test_the_head_of_the_queue_may_give_up_and_the_next_one_is_served():
    ledger = Ledger(Budget(token_budget=1_000))
    first = await ledger.reserve(CallEstimate(input_tokens=10, max_output_tokens=900))
    head, following = (
        asyncio.create_task(ledger.reserve(CallEstimate(input_tokens=10, max_output_tokens=900))) for _ in range(2)
    )
    await asyncio.sleep(0)
    head.cancel()
    await asyncio.wait([head])
    first.release()
    assert (await following).max_output_tokens == 900


async def test_a_childs_landing_may_count_on_what_siblings_hold_but_not_on_the_roots_part():
    root = Ledger(Budget(token_budget=10_000), landing_tokens=1_000)
    child, sibling = root.child(), root.child()
    await sibling.reserve(CallEstimate(input_tokens=100, max_output_tokens=8_000))
    assert (child.left_tokens(), root.left_tokens()) == (9_000, 10_000)


async def test_an_unknown_price_does_not_make_the_known_cost_forgotten():
    ledger = Ledger(Budget(cost_budget_usd=1.0))
    paid = await ledger.reserve(CallEstimate(input_tokens=0, max_output_tokens=60_000, price=PRICE))
    paid.settle(TokenUsage(output_tokens=60_000), 0.9)
    (await ledger.reserve(CallEstimate(input_tokens=1, max_output_tokens=1))).settle(TokenUsage(), None)
    with pytest.raises(CostBudgetExhausted):
        await ledger.reserve(
            CallEstimate(input_tokens=0, max_output_tokens=60_000, price=Price(input_usd=0, output_usd=2000))
        )


async def test_nothing_reserved_is_no_cost_reserved_however_often_it_was():
    ledger = Ledger(Budget())
    for tokens in (1, 3, 7):
        held = [
            await ledger.reserve(CallEstimate(input_tokens=n, max_output_tokens=tokens, price=PRICE)) for n in (1, 7, 9)
        ]
        for reservation in held:
            reservation.release()
        assert ledger._reserved_cost_usd == 0.0
