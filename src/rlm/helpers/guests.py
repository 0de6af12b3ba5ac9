"""The guest's door to the helpers: each operation as a `Tool`, which refuses what was not granted.

It plans in a worker that is killed at the deadline or when the cell goes; writing once begun is finished.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import ToolError
from rlm.helpers.operations import find, names
from rlm.helpers.performing import Planned, commit, told
from rlm.helpers.rights import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.core.interfaces import Tool
    from rlm.core.types import Json, ToolSpec
    from rlm.helpers.helper import Helper
    from rlm.helpers.workspace import Workspace
    from rlm.tools.worker import WorkerPool


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestHelper:
    """One operation as a tool that guest code may call."""

    operation: Helper
    work: Workspace
    workers: WorkerPool
    timeout_s: float

    @property
    def spec(self) -> ToolSpec:
        return self.operation.tool.spec

    @property
    def reads_only(self) -> bool:
        return self.operation.right == "read"

    async def call(self, arguments: Mapping[str, Json]) -> Json:
        """Plan in a worker, then write; a commit that has begun is finished whatever is cancelled.

        Raises:
            ToolError: it is refused or failed; nothing is half written.
        """
        require(self.work.rights, self.operation.right, self.operation.name)
        asked = {"work": told(self.work), "name": self.operation.name, "arguments": dict(arguments)}
        try:
            answer = await self.workers.call("rlm.helpers.performing:plan_in_worker", asked, timeout_s=self.timeout_s)
        except (UnicodeEncodeError, TypeError) as error:
            raise ToolError(f"{self.operation.name}: an argument is nothing that JSON can carry: {error}") from error
        planned = msgspec.convert(answer, Planned)
        if planned.entry is None:
            return commit(self.work, planned)
        return await _to_its_end(self.work, planned)


class GuestHelpers:
    """Every operation, for guest code in one workspace."""

    def __init__(self, work: Workspace, workers: WorkerPool, timeout_s: float) -> None:
        self._rights = work.rights
        self._tools = {
            name: GuestHelper(operation=find(name), work=work, workers=workers, timeout_s=timeout_s) for name in names()
        }

    def get(self, name: str) -> Tool:
        """Find an operation.

        Raises:
            ToolNotFoundError: there is none; the message names near ones.
        """
        return self._tools[name] if name in self._tools else self._tools[find(name).name]

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def allowed(self) -> Iterator[Tool]:
        """Those that the rights suffice for."""
        return (each for each in self._tools.values() if each.operation.right in self._rights)


async def _to_its_end(work: Workspace, planned: Planned) -> Json:
    writing = asyncio.ensure_future(asyncio.to_thread(commit, work, planned))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise
