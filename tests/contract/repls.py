"""The sandboxes that the REPL contract is asserted for; a new one is one row here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import pytest

from rlm.core.config import DockerConfig, LocalConfig, Policy, WasmConfig
from rlm.core.contexts.context import Context
from rlm.core.interfaces import Repl, Sandbox
from rlm.core.types import ExecResult, ReplSpec
from rlm.repl.docker.launcher import DOCKER
from rlm.repl.live import Limits
from rlm.repl.local.launcher import LOCAL
from rlm.repl.wasm.launcher import WASM
from rlm.runtime.inputs import prepare
from tests.support.required import COMPONENTS, TEST_IMAGE, needs

TIMEOUT_S = 0.4
"""The cell timeout of the impatient sandboxes."""
HASTY = Limits(cell_timeout_s=TIMEOUT_S, grace_s=0.3)
PATIENT = Limits(cell_timeout_s=TIMEOUT_S, grace_s=60)


def local(policy: Policy, limits: Limits | None = None, **settings: Any) -> Callable[[], Sandbox]:
    return lambda: LOCAL.sandbox(LocalConfig(policy=policy, **settings), limits)


def docker(limits: Limits | None = None, **settings: Any) -> Callable[[], Sandbox]:
    return lambda: DOCKER.sandbox(DockerConfig(image=TEST_IMAGE, **settings), limits)


def wasm(limits: Limits | None = None, **settings: Any) -> Callable[[], Sandbox]:
    return lambda: WASM.sandbox(WasmConfig(**settings), limits)


SANDBOXES: dict[str, Callable[[], Sandbox]] = {
    "local-off": local("off"),
    "local-relaxed": local("relaxed"),
    "docker": docker(),
    "wasm": wasm(),
}
PLAIN: dict[str, Callable[[], Sandbox]] = {
    "local": local("off"),
    "docker": docker(),
    "wasm": wasm(),
}
"""Without a policy: whatever Python can do is tried."""
IMPATIENT: dict[str, Callable[[], Sandbox]] = {
    "local": local("off", limits=HASTY),
    "docker": docker(limits=HASTY),
    "wasm": wasm(limits=HASTY),
}
LENIENT: dict[str, Callable[[], Sandbox]] = {
    "local": local("off", limits=PATIENT),
    "docker": docker(limits=PATIENT),
    "wasm": wasm(limits=PATIENT),
}
"""As impatient, but a cell that obeys may take the time that a loaded machine takes."""
SMALL: dict[str, Callable[[], Sandbox]] = {
    "local": local("off", memory="256m"),
    "docker": docker(memory="256m"),
    "wasm": wasm(memory="256m"),
}

Functions = dict[str, Callable[..., Awaitable[Any]]]


def rows(table: dict[str, Callable[[], Sandbox]]) -> list[Any]:
    """The names of a table as parameters; those of real components stand behind the gate."""
    return [pytest.param(name, marks=needs(name)) if name in COMPONENTS else name for name in table]


@dataclass
class Opener:
    """Opens REPLs in one sandbox and closes them when the test ends."""

    sandbox: Sandbox
    opened: list[Repl] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    """What was passed on of the output, over all REPLs."""
    passed_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with the first of them."""

    async def __call__(self, context: Any = None, **functions: Callable[..., Awaitable[Any]]) -> Repl:
        async def call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return await functions[name](*args, **kwargs)

        given = context if isinstance(context, Context) else prepare(context)
        spec = ReplSpec(call=call, functions=tuple(functions), on_output=self._take)
        repl = await self.sandbox.open(given, spec)
        self.opened.append(repl)
        return repl

    async def aclose(self) -> None:
        for repl in self.opened:
            await repl.aclose()

    def _take(self, piece: str) -> None:
        self.pieces.append(piece)
        self.passed_on.set()


def threaded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Of a sandbox without threads, the test asserts that starting one is an error which keeps the state."""

    @wraps(test)
    async def either(**fixtures: Any) -> None:
        opener = next(fixture for fixture in fixtures.values() if isinstance(fixture, Opener))
        await (test(**fixtures) if opener.sandbox.traits.threads else refuses_threads(opener))

    return either


async def refuses_threads(opener: Opener) -> None:
    repl = await opener()
    result = await repl.execute("kept = 1\nimport threading\nthreading.Thread(target=print).start()")
    assert result.error is not None
    assert (result.error.kind, result.error.message) == ("RuntimeError", "can't start new thread")
    assert shown(await repl.execute("kept")) == "1"


async def echo(*args: Any, **kwargs: Any) -> Any:
    """A function for cells: answers with what it was given."""
    return [list(args), kwargs] if kwargs or len(args) != 1 else args[0]


def shown(result: ExecResult) -> str:
    """What a cell that must have gone well printed."""
    assert result.status == "ok", result
    return result.output.rstrip("\n")
