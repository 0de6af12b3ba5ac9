"""The helpers for guest code: each operation as a `Tool` that refuses what was not granted.

An operation plans in a worker, which is killed at the deadline or with the cell; writing that has begun is finished.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, TypeVar

import msgspec

from rlm.core.exceptions import ToolError
from rlm.helpers.operation_table import find, names
from rlm.helpers.performing import Planned, commit, told
from rlm.helpers.recovery import recover
from rlm.helpers.rights import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rlm.core.interfaces import Tool
    from rlm.core.types import Json, ToolSpec
    from rlm.helpers.operation import Operation
    from rlm.helpers.workspace import Workspace
    from rlm.processes.worker import WorkerPool

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestHelper:
    """One operation as a tool that guest code may call."""

    operation: Operation
    work: Workspace
    workers: WorkerPool
    timeout_s: float
    turns: asyncio.Lock
    """Held while a file is changed, so that threads and children can all append to the same file."""

    @property
    def spec(self) -> ToolSpec:
        return self.operation.tool.spec

    @property
    def reads_only(self) -> bool:
        return self.operation.right == "read"

    async def call(self, arguments: Mapping[str, Json]) -> Json:
        """Plan in a worker, then write; a commit that has begun is finished even if the call is cancelled.

        Raises:
            ToolError: the operation was refused or failed; nothing is half written.
        """
        name = self.operation.name
        require(self.work.rights, self.operation.right, name)
        self.operation.tool.convert(arguments)  # wrong arguments are refused before a worker is taken
        _require_json(name, arguments)
        if self.reads_only:
            return (await self._plan(arguments)).facts
        async with self.turns:
            planned = await self._plan(arguments)
            if planned.entry is None:
                return planned.facts
            return await _to_its_end(self.work, lambda work: commit(work, planned))

    async def _plan(self, arguments: Mapping[str, Json]) -> Planned:
        name = self.operation.name
        await _to_its_end(self.work, recover)
        asked = {"work": told(self.work), "name": name, "arguments": dict(arguments)}
        try:
            answer = await self.workers.call("rlm.helpers.performing:plan_in_worker", asked, timeout_s=self.timeout_s)
        except UnicodeEncodeError as error:
            raise ToolError(f"{name}: an argument has characters that no text can have (lone surrogates).") from error
        return msgspec.convert(answer, Planned)


class GuestHelpers:
    """Every operation, for guest code in one workspace."""

    def __init__(self, work: Workspace, workers: WorkerPool, timeout_s: float) -> None:
        self._rights = work.rights
        turns = asyncio.Lock()
        self._tools = {
            name: GuestHelper(operation=find(name), work=work, workers=workers, timeout_s=timeout_s, turns=turns)
            for name in names()
        }

    def get(self, name: str) -> Tool:
        """Find an operation by its name.

        Raises:
            ToolNotFoundError: there is no such operation; the message names similar ones.
        """
        if name not in self._tools:
            find(name)
        return self._tools[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def allowed(self) -> Iterator[Tool]:
        """The operations that the granted rights allow."""
        return (each for each in self._tools.values() if each.operation.right in self._rights)


def _require_json(name: str, arguments: Mapping[str, Json]) -> None:
    """Check that arguments reach the worker unchanged; msgspec would turn bytes into text, and a NaN into null.

    Raises:
        ToolError: an argument would change.
    """
    waiting: list[Json] = [*arguments.values()]
    while waiting:
        value = waiting.pop()
        if isinstance(value, bytes) or (isinstance(value, float) and not isfinite(value)):
            what = "bytes" if isinstance(value, bytes) else repr(value)
            raise ToolError(f"{name}: {what} in an argument has no form in JSON; give text, finite numbers, lists.")
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()


async def _to_its_end(work: Workspace, write: Callable[[Workspace], T]) -> T:
    """Run what writes files in a thread, to its end even if the call is cancelled; what only waits gives up then."""
    cancelled = threading.Event()
    writing = asyncio.ensure_future(asyncio.to_thread(write, replace(work, gives_up=cancelled.is_set)))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.wait([writing])
        writing.exception()  # marks it as retrieved: nobody waits for it any more
        raise
