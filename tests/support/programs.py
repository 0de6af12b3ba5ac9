"""A sandbox in this process whose cells are small programs instead of Python text, so that whole trees of completions
run in milliseconds. It honours the contract of `Sandbox` and `Repl`, and isolates nothing.

A cell is a JSON list of steps: `["say", text]`, `["sleep", seconds]`, `["call", name, args, kwargs]` (waits),
`["spawn", name, args, kwargs]` (does not: a thread of guest code), `["join"]` (waits for all that was spawned),
`["fail"]`, `["final", value]`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from rlm.core.exceptions import REPLExecutionError, RLMError
from rlm.core.types import ExecError, ExecResult, Final, Traits

if TYPE_CHECKING:
    from rlm.core.contexts.context import Context
    from rlm.core.types import ReplSpec

Step: TypeAlias = Sequence[Any]

_RAISED_IN_GUEST = (RLMError, ValueError, TypeError, LookupError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A call of guest code that was answered; one that was cut off by the end of its cell is not among them."""

    name: str
    args: Sequence[Any]
    answer: Any
    error: Exception | None = None


class GuestError(Exception):
    """What a cell raises."""


async def _pass(seconds: float) -> None:
    """Take that long; no time is not even a round of the loop."""
    if seconds:
        await asyncio.sleep(seconds)


def _steps(code: str) -> Sequence[Step]:
    try:
        steps: list[Step] = json.loads(code)
    except ValueError as error:
        raise GuestError(f"no program: {error}") from error
    return steps


class ProgramSandbox:
    """Opens REPLs that take `open_s` to open and `close_s` to close, and counts those that are there."""

    def __init__(self, *, open_s: float = 0.0, close_s: float = 0.0) -> None:
        self._open_s = open_s
        self._close_s = close_s
        self.alive = 0
        self.peak_alive = 0
        self.calls: list[Called] = []
        """In the order they were answered."""

    @property
    def traits(self) -> Traits:
        return Traits()

    async def start(self) -> None:
        return

    async def open(self, context: Context, spec: ReplSpec) -> ProgramRepl:
        self.alive += 1
        self.peak_alive = max(self.peak_alive, self.alive)
        try:
            await _pass(self._open_s)
        except BaseException:
            self.alive -= 1
            raise
        return ProgramRepl(self, spec)

    async def close_one(self) -> None:
        """A REPL goes; it is gone even if nobody waits for that to the end."""
        try:
            await _pass(self._close_s)
        finally:
            self.alive -= 1

    async def aclose(self) -> None:
        return


class ProgramRepl:
    """One REPL; a cancelled cell kills it, and the next starts anew."""

    def __init__(self, sandbox: ProgramSandbox, spec: ReplSpec) -> None:
        self._sandbox = sandbox
        self._spec = spec
        self._lock = asyncio.Lock()
        self._lost = False
        self._closed = False

    async def execute(self, code: str, timeout_s: float | None = None) -> ExecResult:
        async with self._lock:
            if self._closed:
                raise REPLExecutionError("this REPL is closed")
            lost, self._lost = self._lost, False
            cell = _Cell(self._sandbox, self._spec)
            try:
                await cell.run(code)
            except asyncio.CancelledError:
                self._lost = True
                raise
            finally:
                await cell.settle()
            return cell.result(state_reset=lost)

    def interrupt(self, why: str) -> None:
        raise NotImplementedError(f"a program runs to its end: {why}")

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            await self._sandbox.close_one()


class _Cell:
    """One run of a program."""

    def __init__(self, sandbox: ProgramSandbox, spec: ReplSpec) -> None:
        self._sandbox = sandbox
        self._spec = spec
        self._began_at = asyncio.get_running_loop().time()
        self._calls: list[asyncio.Task[None]] = []
        self._said: list[str] = []
        self._error: ExecError | None = None
        self._given: Final | None = None

    async def run(self, code: str) -> None:
        """Follow the steps up to a final value or an error, which stays inside; a fault of the host is raised."""
        try:
            for kind, *rest in _steps(code):
                await getattr(self, f"_{kind}")(*rest)
                if self._given is not None:
                    return
        except GuestError as error:
            self._error = ExecError(kind="GuestError", message=str(error), traceback=f"GuestError: {error}")

    async def settle(self) -> None:
        """Cut off the calls that nobody waits for, and wait until they have cleaned up; raises a fault of the host."""
        for call in self._calls:
            call.cancel()
        for ended in await asyncio.gather(*self._calls, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    def result(self, *, state_reset: bool) -> ExecResult:
        output = "".join(self._said)
        return ExecResult(
            status="ok" if self._error is None else "error",
            output=output,
            output_chars=len(output),
            duration_s=asyncio.get_running_loop().time() - self._began_at,
            error=self._error,
            final=self._given,
            state_reset=state_reset,
        )

    async def _say(self, text: str) -> None:
        self._said.append(text)
        self._spec.on_output(text)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _call(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        await self._start(name, args, kwargs)

    async def _spawn(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self._start(name, args, kwargs)

    async def _join(self) -> None:
        await asyncio.gather(*self._calls)

    async def _fail(self) -> None:
        raise GuestError("the cell failed")

    async def _final(self, value: Any) -> None:
        self._given = Final(value=value, text=value if isinstance(value, str) else json.dumps(value))

    def _start(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._answer(name, args, kwargs))
        self._calls.append(task)
        return task

    async def _answer(self, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        try:
            answer = await self._spec.call(name, tuple(args), kwargs)
        except _RAISED_IN_GUEST as error:
            self._sandbox.calls.append(Called(name=name, args=args, answer=None, error=error))
        else:
            self._sandbox.calls.append(Called(name=name, args=args, answer=answer))
