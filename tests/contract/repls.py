"""The sandboxes that the REPL contract is asserted for; a new one is one row here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from rlm.core.context import Context
from rlm.core.interfaces import Repl, Sandbox
from rlm.core.types import ExecResult, ReplSpec
from rlm.inputs import prepare
from rlm.repl.local import LocalSandbox, LocalSettings

TIMEOUT_S = 0.4
"""The cell timeout of the impatient sandboxes."""


def local(policy: str, **settings: Any) -> Callable[[], Sandbox]:
    return lambda: LocalSandbox(LocalSettings(policy=policy, **settings))


SANDBOXES: dict[str, Callable[[], Sandbox]] = {
    "local-off": local("off"),
    "local-relaxed": local("relaxed"),
}
PLAIN: dict[str, Callable[[], Sandbox]] = {"local": local("off")}
"""Without a policy: whatever Python can do is tried."""
IMPATIENT: dict[str, Callable[[], Sandbox]] = {"local": local("off", cell_timeout_s=TIMEOUT_S)}
SMALL: dict[str, Callable[[], Sandbox]] = {"local": local("off", memory_bytes=256 << 20)}

Functions = dict[str, Callable[..., Awaitable[Any]]]


@dataclass
class Opener:
    """Opens REPLs in one sandbox and closes them when the test ends."""

    sandbox: Sandbox
    opened: list[Repl] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    """What was passed on of the output, over all REPLs."""

    async def __call__(self, context: Any = None, **functions: Callable[..., Awaitable[Any]]) -> Repl:
        async def call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return await functions[name](*args, **kwargs)

        given = context if isinstance(context, Context) else prepare(context)
        spec = ReplSpec(call=call, functions=tuple(functions), on_output=self.pieces.append)
        repl = await self.sandbox.open(given, spec)
        self.opened.append(repl)
        return repl

    async def aclose(self) -> None:
        for repl in self.opened:
            await repl.aclose()


async def echo(*args: Any, **kwargs: Any) -> Any:
    """A function for cells: answers with what it was given."""
    return [list(args), kwargs] if kwargs or len(args) != 1 else args[0]


def shown(result: ExecResult) -> str:
    """What a cell that must have gone well printed."""
    assert result.status == "ok", result
    return result.output.rstrip("\n")
