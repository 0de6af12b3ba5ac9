"""Tools that ask somebody before they change anything: what only reads is called at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from rlm.core.interfaces import Helpers, Tool
    from rlm.core.types import Json, ToolSpec

Permission: TypeAlias = "Callable[[Tool, Mapping[str, Json]], Awaitable[None]]"
"""Returns where a call of a tool may be made with these arguments, and else raises `ToolError`, which says why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PermittedTool:
    """A tool that is called only where its call is permitted."""

    tool: Tool
    permission: Permission

    @property
    def spec(self) -> ToolSpec:
        return self.tool.spec

    @property
    def reads_only(self) -> bool:
        return self.tool.reads_only

    async def call(self, arguments: Mapping[str, Json]) -> Json:
        """Ask, then call it.

        Raises:
            ToolError: it isn't permitted, or it refused or failed.
        """
        await self.permission(self.tool, arguments)
        return await self.tool.call(arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class PermittedHelpers:
    """Helpers whose operations are called only where that is permitted."""

    helpers: Helpers
    permission: Permission

    def get(self, name: str) -> Tool:
        """See `Toolbox.get`."""
        return permitted(self.helpers.get(name), self.permission)

    def __iter__(self) -> Iterator[Tool]:
        return (permitted(tool, self.permission) for tool in self.helpers)

    def allowed(self) -> Iterator[Tool]:
        """See `Helpers.allowed`."""
        return (permitted(tool, self.permission) for tool in self.helpers.allowed())


def permitted(tool: Tool, permission: Permission | None) -> Tool:
    """The tool itself where it only reads or nobody is to be asked, else one that asks."""
    if permission is None or tool.reads_only:
        return tool
    return PermittedTool(tool=tool, permission=permission)


def permitted_tools(tools: Iterable[Tool], permission: Permission | None) -> tuple[Tool, ...]:
    """`permitted` for each."""
    return tuple(permitted(tool, permission) for tool in tools)


def permitted_helpers(helpers: Helpers | None, permission: Permission | None) -> Helpers | None:
    """The helpers, which ask where somebody is to be asked."""
    if helpers is None or permission is None:
        return helpers
    return PermittedHelpers(helpers=helpers, permission=permission)
