"""The ledger: nothing is granted that does not fit, everything spent is charged upwards."""

import asyncio
from dataclasses import replace

import pytest

from rlm.core.budget import MIN_OUTPUT_TOKENS, Budget, CallEstimate, Ledger, estimate_message, estimate_tokens
from rlm.core.exceptions import (
    CostBudgetExhausted,
    MaxDepthExceeded,
    SharedBudgetExhausted,
    TokenBudgetExhausted,
    ToolBudgetExhausted,
)
from rlm.core.types import Message, Price, RunUsage, TokenUsage, ToolCall

DOLLAR_A_TOKEN = Price(input_usd=1e6, output_usd=1e6)


def call(input_tokens=100, max_output_tokens=1000, price=None):
    return CallEstimate(input_tokens=input_tokens, max_output_tokens=max_output_tokens, price=price)


def used(input_tokens, output_tokens):
    return TokenUsage(input_tokens=input_tokens, output_tokens=output_tokens)


async def test_a_call_that_fits_gets_its_whole_output_cap():
    reservation = await Ledger(Budget(token_budget=1100)).reserve(call())
    assert reservation.max_output_tokens == 1000


async def test_the_output_cap_shrinks_to_what_is_left():
    reservation = await Ledger(Budget(token_budget=900)).reserve(call())
    assert reservation.max_output_tokens == 800


def test_reasoning_counts_where_it_goes_back_with_calls():
    call = ToolCall(id="a", name="f", arguments="{}")
    silent, reasoned = (Message(role="assistant", content="", tool_calls=(call,), reasoning=r) for r in ("", "x" * 300))
    assert estimate_message(reasoned) == estimate_message(silent) + 100
    answer = Message(role="assistant", content="5")
    assert estimate_message(replace(answer, reasoning="x" * 300)) == estimate_message(answer)


@pytest.mark.parametrize(("counts", "calls"), [("all", 4), ("uncached", 17), ("output", 49)])
async def test_a_token_budget_counts_what_it_is_told_to(counts, calls):
    """A conversation of 1,000 tokens that the provider caches; each reply has 81."""
    budget = Budget(token_budget=5_000 if counts != "output" else 4_000, token_budget_counts=counts)
    ledger, estimate = Ledger(budget), call(input_tokens=1_000, max_output_tokens=100)
    for number in range(calls):
        reservation = await ledger.reserve(estimate)
        cached = 900 if number else 0
        reservation.settle(TokenUsage(input_tokens=1_000, output_tokens=81, cached_tokens=cached), None)
    with pytest.raises(TokenBudgetExhausted):
        await ledger.reserve(estimate)
    assert ledger.usage().input_tokens == 1_000 * calls


async def test_below_the_least_output_a_call_is_refused():
    ledger = Ledger(Budget(token_budget=100 + MIN_OUTPUT_TOKENS - 1))
    with pytest.raises(TokenBudgetExhausted, match="token_budget of 611"):
        await ledger.reserve(call())


async def test_a_call_waits_for_room_that_one_in_flight_frees():
    ledger = Ledger(Budget(token_budget=1500))
    first = await ledger.reserve(call())
    second = asyncio.create_task(ledger.reserve(call()))
    await asyncio.sleep(0)
    assert not second.done()
    first.settle(used(100, 50), None)
    assert (await second).max_output_tokens == 1000


async def test_a_call_that_no_settlement_can_save_is_refused_after_the_wait():
    ledger = Ledger(Budget(token_budget=1200))
    first = await ledger.reserve(call())
    second = asyncio.create_task(ledger.reserve(call()))
    await asyncio.sleep(0)
    first.settle(used(100, 1000), None)
    with pytest.raises(TokenBudgetExhausted):
        await second


async def test_a_cancelled_wait_holds_nothing():
    ledger = Ledger(Budget(token_budget=1100))
    first = await ledger.reserve(call())
    second = asyncio.create_task(ledger.reserve(call()))
    await asyncio.sleep(0)
    second.cancel()
    first.release()
    assert (await ledger.reserve(call())).max_output_tokens == 1000


async def test_a_childs_spend_charges_every_ancestor():
    root = Ledger(Budget(token_budget=5000))
    leaf = root.child().child()
    (await leaf.reserve(call())).settle(used(70, 30), 0.5)
    assert [node.usage().input_tokens for node in leaf.line()] == [70, 70, 70]
    assert root.cost_usd == 0.5
    assert root.usage().depth_reached == 2


async def test_children_cannot_overshoot_together():
    root = Ledger(Budget(token_budget=2000))
    children = [root.child() for _ in range(5)]
    first = await children[0].reserve(call())
    waiting = [asyncio.create_task(child.reserve(call())) for child in children[1:]]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    first.settle(used(100, 1000), None)
    done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().max_output_tokens for task in done] == [800]
    for task in rest:
        task.cancel()


async def test_a_child_with_a_share_stays_in_it():
    child = Ledger(Budget(token_budget=10_000)).child(Budget(token_budget=700))
    assert (await child.reserve(call())).max_output_tokens == 600


async def test_the_part_set_aside_is_for_the_landing_only():
    ledger = Ledger(Budget(token_budget=1000), landing_tokens=700)
    with pytest.raises(TokenBudgetExhausted):
        await ledger.reserve(call())
    assert (await ledger.reserve(call(), landing=True)).max_output_tokens == 900


async def test_cost_is_reserved_at_its_worst():
    ledger = Ledger(Budget(token_budget=None, cost_budget_usd=900.0))
    assert (await ledger.reserve(call(price=DOLLAR_A_TOKEN))).max_output_tokens == 800


async def test_a_call_beyond_the_cost_budget_is_refused():
    ledger = Ledger(Budget(cost_budget_usd=90.0))
    with pytest.raises(CostBudgetExhausted, match=r"cost_budget_usd of 90\.0"):
        await ledger.reserve(call(price=DOLLAR_A_TOKEN))


async def test_an_unknown_cost_stays_unknown():
    ledger = Ledger(Budget())
    (await ledger.reserve(call())).settle(used(1, 1), 0.1)
    (await ledger.reserve(call())).settle(used(1, 1), None)
    assert ledger.cost_usd is None


async def test_a_settled_reservation_cannot_be_settled_twice():
    ledger = Ledger(Budget())
    reservation = await ledger.reserve(call())
    reservation.settle(used(10, 5), 0.0)
    reservation.settle(used(10, 5), 0.0)
    reservation.release()
    assert ledger.usage().model_calls == 1
    assert ledger.usage().output_tokens == 5


def test_a_released_call_was_not_made():
    async def reserve_and_release(ledger):
        (await ledger.reserve(call())).release()

    ledger = Ledger(Budget())
    asyncio.run(reserve_and_release(ledger))
    assert ledger.usage().model_calls == 0


def test_tool_calls_are_counted_over_the_tree_and_never_passed():
    root = Ledger(Budget(tool_budget=2))
    root.child().count_tool_call()
    root.count_tool_call()
    with pytest.raises(ToolBudgetExhausted, match="tool_budget of 2"):
        root.child().count_tool_call()
    assert root.usage().tool_calls == 2


def test_a_batch_gets_as_many_subcalls_as_are_left():
    root = Ledger(Budget(subcall_budget=10))
    assert root.count_subcalls(7) == 7
    assert root.child().count_subcalls(7) == 3
    assert root.count_subcalls(1) == 0


def test_depth_is_levels_of_children_not_turns():
    root = Ledger(Budget(max_depth=1))
    for _ in range(50):
        root.count_turn()
    child = root.child()
    with pytest.raises(MaxDepthExceeded, match="max_depth of 1"):
        child.child()


def test_near_names_the_caps_that_are_almost_used():
    root = Ledger(Budget(subcall_budget=10))
    root.count_subcalls(8)
    assert [name for name, _ in root.near()] == ["subcall_budget"]


@pytest.mark.parametrize("text", ["", "plain words " * 100, "汉字" * 100, "\ud800" * 9])
def test_the_estimate_is_at_least_one_token_per_four_bytes(text):
    assert estimate_tokens(text) >= len(text.encode("utf-8", "surrogatepass")) / 4


async def test_runs_share_the_caps_of_the_ledger_above_them():
    above = Ledger.shared(token_budget=2_000)
    one, other = (Ledger(Budget(token_budget=5_000), above=above) for _ in range(2))
    first = await one.child().reserve(call())
    second = asyncio.create_task(other.reserve(call()))
    await asyncio.sleep(0)
    assert not second.done()
    first.settle(used(100, 500), None)
    (await second).settle(used(100, 900), None)
    with pytest.raises(SharedBudgetExhausted, match="of all runs together"):
        await one.reserve(call())
    assert (above.usage().input_tokens + above.usage().output_tokens, one.usage().input_tokens) == (1_600, 100)
    assert (one.depth, one.caps.token_budget) == (0, 5_000)


async def test_a_call_without_room_of_its_own_holds_up_no_other_run():
    above = Ledger.shared(token_budget=10_000)
    one, other = Ledger(Budget(token_budget=1_500), above=above), Ledger(Budget(), above=above)
    held = await one.reserve(call())
    waiting = asyncio.create_task(one.reserve(call()))
    await asyncio.sleep(0)
    (await other.reserve(call())).release()
    assert not waiting.done()
    held.release()
    assert (await waiting).max_output_tokens == 1_000


def test_what_an_earlier_run_spent_is_not_counted_above_once_more():
    above = Ledger.shared(token_budget=10_000)
    ledger = Ledger(Budget(), above=above)
    ledger.restore(RunUsage(input_tokens=70), 0.5)
    assert (ledger.usage().input_tokens, above.usage().input_tokens, above.cost_usd) == (70, 0, 0.0)
