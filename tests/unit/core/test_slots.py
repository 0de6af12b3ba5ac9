"""Slots for sandboxes: bounded, and never a wait that cannot end."""

import asyncio

from rlm.core.budget import Budget, Ledger
from rlm.core.slots import SandboxSlots


def tree():
    root = Ledger(Budget())
    return root, root.child(), root.child()


async def test_a_free_slot_is_taken_and_given_back():
    slots, (root, *_) = SandboxSlots(1), tree()
    for _ in range(2):
        async with slots.slot(root) as free:
            assert free


async def test_a_child_whose_ancestors_hold_all_is_refused_at_once():
    slots, (root, child, _) = SandboxSlots(1), tree()
    async with slots.slot(root), slots.slot(child) as free:
        assert not free


async def test_a_child_waits_while_a_sibling_can_still_end():
    slots, (root, one, two) = SandboxSlots(2), tree()
    async with slots.slot(root):
        async with slots.slot(one):
            waiting = asyncio.create_task(slots.slot(two).__aenter__())
            await asyncio.sleep(0)
            assert not waiting.done()
        assert await waiting


async def test_two_branches_that_would_wait_for_each_other_do_not():
    slots, (root, one, two) = SandboxSlots(3), tree()
    async with slots.slot(root), slots.slot(one), slots.slot(two):
        first = asyncio.create_task(slots.slot(one.child()).__aenter__())
        await asyncio.sleep(0)
        async with slots.slot(two.child()) as free:
            assert not free
        assert not first.done()
        first.cancel()


async def test_a_cancelled_wait_leaves_no_hole():
    slots, (root, one, two) = SandboxSlots(2), tree()
    async with slots.slot(root):
        async with slots.slot(one):
            waiting = asyncio.create_task(slots.slot(two).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
        async with slots.slot(two) as free:
            assert free
