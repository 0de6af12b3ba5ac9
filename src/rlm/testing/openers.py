"""What the sandbox suite works with: REPLs that are closed when a test ends, and functions for cells."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import wraps
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from rlm.core.contexts.context import Context
from rlm.core.types import ExecResult, ReplSpec
from rlm.runtime.inputs import prepare

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rlm.core.interfaces import Repl, Sandbox

TIMEOUT_S = 0.4
"""The cell timeout of the impatient and of the lenient sandbox."""


@dataclass
class Opener:
    """Opens REPLs in one sandbox and closes them when the test ends."""

    sandbox: Sandbox
    opened: list[Repl] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    """The output that was passed on, over all REPLs."""
    passed_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with the first piece."""

    async def __call__(self, context: Any = None, **functions: Callable[..., Awaitable[Any]]) -> Repl:
        """A new REPL with that context, whose cells may call these functions."""

        async def call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
            return await functions[name](*args, **kwargs)

        given = context if isinstance(context, Context) else prepare(context)
        spec = ReplSpec(call=call, functions=tuple(functions), on_output=self._take)
        repl = await self.sandbox.open(given, spec)
        self.opened.append(repl)
        return repl

    async def aclose(self) -> None:
        """Close every REPL that was opened."""
        for repl in self.opened:
            await repl.aclose()

    def _take(self, piece: str) -> None:
        self.pieces.append(piece)
        self.passed_on.set()


def threaded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """In a sandbox without threads, the test asserts that starting one is an error which keeps the state."""

    @wraps(test)
    async def either(self: object, repl: Repl, **fixtures: Any) -> None:
        opener = next(fixture for fixture in fixtures.values() if isinstance(fixture, Opener))
        await opener.sandbox.start()  # from then on it knows its traits
        await (test(self, **fixtures) if opener.sandbox.traits.threads else _refuses_threads(repl))

    wanted = signature(test)
    either.__signature__ = wanted.replace(  # type: ignore[attr-defined]
        parameters=[*wanted.parameters.values(), Parameter("repl", Parameter.KEYWORD_ONLY)]
    )  # the fixtures that pytest makes
    return either


async def forget_variables(repl: Repl) -> None:
    """Delete every variable that cells have set."""
    listed = shown(await repl.execute("SHOW_VARS()"))
    names = {line.split("  ")[0] for line in listed.splitlines() if "  " in line} - {"context"}
    if names:
        assert shown(await repl.execute(f"del {', '.join(sorted(names))}")) == ""


async def _refuses_threads(repl: Repl) -> None:
    result = await repl.execute("kept = 1\nimport threading\nthreading.Thread(target=print).start()")
    assert result.error is not None
    assert (result.error.kind, result.error.message) == ("RuntimeError", "can't start new thread")
    assert shown(await repl.execute("kept")) == "1"


async def echo(*args: Any, **kwargs: Any) -> Any:
    """A function for cells: answers with its arguments."""
    return [list(args), kwargs] if kwargs or len(args) != 1 else args[0]


def shown(result: ExecResult) -> str:
    """The output of a cell that must have gone well."""
    assert result.status == "ok", result
    return result.output.rstrip("\n")
