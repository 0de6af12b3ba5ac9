"""One sandbox over a launcher: what holds for all of them, whatever starts the guests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from rlm.core.contexts.context import Context
from rlm.core.exceptions import REPLError, REPLExecutionError
from rlm.core.types import ReplSpec, Traits
from rlm.repl.live import Limits
from rlm.repl.sandbox import HostedSandbox
from tests.unit.repl.fakes import FakeChannel

SPEC = ReplSpec(call=lambda *_: None)
CONTEXT = Context.empty()


@dataclass
class FakeLauncher:
    """Starts guests that say at once that they are ready."""

    is_alive: bool = True
    traits: Traits = field(default_factory=lambda: Traits(layers=("fake",)))
    refusal: str | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    forgotten: list[Context] = field(default_factory=list)
    closed: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def init(self, context: Context) -> dict[str, str]:
        return {"policy": "off"}

    async def launch(self, context: Context) -> FakeChannel:
        self.asked.set()
        await self.gate.wait()
        if self.refusal is not None:
            raise REPLError(self.refusal)
        channel = FakeChannel()
        asyncio.get_running_loop().call_soon(lambda: channel.say(t="ready", v=1, report={}))
        return channel

    async def forget(self, context: Context) -> None:
        self.forgotten.append(context)

    async def aclose(self) -> None:
        self.closed += 1


class Starts:
    """Gives out launchers, one after another."""

    def __init__(self, *launchers: FakeLauncher) -> None:
        self.left = list(launchers)
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    async def __call__(self) -> FakeLauncher:
        self.begun.set()
        await self.gate.wait()
        return self.left.pop(0)


def over(*launchers: FakeLauncher) -> HostedSandbox:
    return HostedSandbox("fake", Starts(*launchers), Limits())


async def test_it_starts_once_and_has_the_traits_of_its_launcher() -> None:
    sandbox = over(FakeLauncher())
    assert sandbox.traits == Traits()
    await asyncio.gather(sandbox.start(), sandbox.start(), sandbox.open(CONTEXT, SPEC))
    assert sandbox.traits == Traits(layers=("fake",))


async def test_a_context_is_forgotten_with_its_last_repl() -> None:
    launcher = FakeLauncher()
    sandbox = over(launcher)
    first, second = [await sandbox.open(CONTEXT, SPEC) for _ in range(2)]
    await first.aclose()
    await first.aclose()
    assert launcher.forgotten == []
    await second.aclose()
    assert launcher.forgotten == [CONTEXT]


async def test_a_guest_that_does_not_start_leaves_nothing_in_use() -> None:
    launcher = FakeLauncher(refusal="no room")
    with pytest.raises(REPLError, match="no room"):
        await over(launcher).open(CONTEXT, SPEC)
    assert set(launcher.forgotten) == {CONTEXT}


async def test_a_repl_that_is_closed_while_it_opens_leaves_nothing_in_use() -> None:
    launcher = FakeLauncher()
    launcher.gate.clear()
    sandbox = over(launcher)
    opening = asyncio.create_task(sandbox.open(CONTEXT, SPEC))
    await launcher.asked.wait()
    await next(iter(sandbox._repls)).aclose()
    launcher.forgotten.clear()
    launcher.gate.set()
    with pytest.raises(REPLExecutionError, match="closed"):
        await opening
    assert launcher.forgotten == [CONTEXT]


async def test_a_launcher_that_died_is_closed_and_replaced() -> None:
    dead = FakeLauncher()
    sandbox = over(dead, FakeLauncher())
    await sandbox.start()
    dead.is_alive = False
    await sandbox.open(CONTEXT, SPEC)
    assert dead.closed == 1


async def test_a_launcher_that_dies_while_it_launches_is_replaced() -> None:
    dying = FakeLauncher(refusal="it has ended")
    sandbox = over(dying, FakeLauncher())
    dying.gate.clear()
    opening = asyncio.create_task(sandbox.open(CONTEXT, SPEC))
    await dying.asked.wait()
    dying.is_alive = False
    dying.gate.set()
    await opening


async def test_closing_ends_the_launcher_once_and_what_is_closed_opens_nothing() -> None:
    launcher = FakeLauncher()
    sandbox = over(launcher)
    repl = await sandbox.open(CONTEXT, SPEC)
    await sandbox.aclose()
    await sandbox.aclose()
    assert (launcher.closed, repl.is_closed) == (1, True)
    with pytest.raises(REPLError, match="the sandbox fake is closed"):
        await sandbox.open(CONTEXT, SPEC)


async def test_a_launcher_that_starts_while_the_sandbox_is_closed_is_ended() -> None:
    launcher = FakeLauncher()
    starts = Starts(launcher)
    starts.gate.clear()
    sandbox = HostedSandbox("fake", starts, Limits())
    starting = asyncio.create_task(sandbox.start())
    await starts.begun.wait()
    await sandbox.aclose()
    starts.gate.set()
    with pytest.raises(REPLError, match="closed"):
        await starting
    assert launcher.closed == 1
