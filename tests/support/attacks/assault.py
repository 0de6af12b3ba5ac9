"""Lets a class of attacks loose on a sandbox, and says what it broke: nothing, if the sandbox holds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlm.core.contexts.context import Context
from rlm.core.types import ExecResult, ReplSpec

if TYPE_CHECKING:
    from rlm.core.interfaces import Repl, Sandbox
    from tests.support.attacks.corpus import Attempt
    from tests.support.attacks.stage import Stage

KEPT_CHARS = 1_000_000
_ALIVE = "FINAL(echo('still ' + 'here'))\n"
_ALIVE_S = 5.0
"""For the cells after an attack: what they show is no matter of speed."""
_TRIES = 3
_OWN_VALUES = re.compile(r"\[Values there: .*?\]\\n")
"""What a traceback adds of the variables of the line that failed, which the cell has anyway: it may name the prize."""


@dataclass(slots=True, kw_only=True)
class Assault:
    """Attacks on one sandbox from one stage."""

    sandbox: Sandbox
    stage: Stage
    patience_s: float
    """How long a cell may take that the sandbox itself is to end."""
    called: list[str] = field(default_factory=list)
    passed_on: list[int] = field(default_factory=list)
    """Characters of output, piece by piece."""

    async def run(self, attempts: Iterable[Attempt], *, until_broken: bool = False) -> dict[str, list[str]]:
        """What each attack broke, by its name; those that broke nothing are not in it.

        All share one REPL: each is to leave it in working order, or to have it replaced.
        """
        repl = await self._open()
        broken: dict[str, list[str]] = {}
        for attempt in attempts:
            found = await self._attack(repl, attempt)
            if found:
                broken[attempt.name] = found
                if until_broken:
                    break
                await self._close(repl)
                repl = await self._open()
        left = [*await self._close(repl), *(f"process {pid} was left" for pid in self.stage.left_processes())]
        return {**broken, **({"afterwards": left} if left else {})}

    async def _attack(self, repl: Repl, attempt: Attempt) -> list[str]:
        self.called.clear()
        self.passed_on.clear()
        try:
            async with asyncio.timeout(self.patience_s):
                result = await repl.execute(self.stage.targets() + attempt.code)
                found = [*self._judge(result), *await self._is_alive(repl)]
        except TimeoutError:
            found = ["it did not end"]
        except Exception as error:  # noqa: BLE001 - the host is to report what guests do, not to fail over it
            found = [f"the host failed: {type(error).__name__}: {error}"[:300]]
        return [*found, *self.stage.damage()]

    def _judge(self, result: ExecResult) -> Iterator[str]:
        said = repr(result)
        if self.stage.secret in said:
            yield "the secret was told"
        if self.stage.prize in _OWN_VALUES.sub("", said):
            yield "the prize was won"
        if len(result.output) > KEPT_CHARS or sum(self.passed_on) > KEPT_CHARS + 1_000:
            yield "the output was not capped"
        yield from (f"the host was asked for {name}" for name in self.called if name != "echo")

    async def _is_alive(self, repl: Repl) -> Iterator[str]:
        """The REPL answers as it should, or is replaced by one that does, and no answer is another's."""
        for _ in range(_TRIES):
            self.called.clear()
            answered, failed = await repl.execute(_ALIVE, _ALIVE_S), await repl.execute("1 / 0", _ALIVE_S)
            if {answered.status, failed.status} & {"killed", "timeout"}:
                continue
            return self._judge_next(answered, failed)
        return iter(["the REPL did not come back"])

    def _judge_next(self, answered: ExecResult, failed: ExecResult) -> Iterator[str]:
        if answered.status != "ok" or answered.final is None or answered.final.value != "still here":
            yield f"the next cell went wrong: {answered}"[:500]
        if failed.error is None or failed.error.kind != "ZeroDivisionError":
            yield f"the error of a cell went wrong: {failed}"[:500]
        yield from (f"the host was asked for {name}" for name in self.called if name != "echo")

    async def _open(self) -> Repl:
        spec = ReplSpec(call=self._call, functions=("echo",), on_output=lambda piece: self.passed_on.append(len(piece)))
        return await self.sandbox.open(Context.empty(), spec)

    async def _close(self, repl: Repl) -> list[str]:
        try:
            async with asyncio.timeout(self.patience_s):
                await repl.aclose()
        except TimeoutError:
            return ["the REPL does not close"]
        return []

    async def _call(self, name: str, args: tuple[Any, ...], _kwargs: Mapping[str, Any]) -> Any:
        self.called.append(name)
        return args[0] if args else None
