"""The tools of one run, by name. It knows nothing of what they do; who may call which is decided elsewhere."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rlm.core.dialects import EXECUTE_CODE
from rlm.core.exceptions import ConfigError, ToolNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.core.interfaces import Tool
    from rlm.core.types import ToolSpec

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_RESERVED = frozenset(
    {
        "llm_map",
        "chunks",
        EXECUTE_CODE.name,
        "FINAL",
        "FINAL_VAR",
        "SHOW_VARS",
        "context",
        "llm_query",
        "llm_query_batched",
    }
    | {
        "llm_map",
        "rlm_query",
        "rlm_query_batched",
        "save_artifact",
        "fs",
        "code",
        "transform",
        "git",
        "tables",
        "skills",
        "load_skill",
    }
)


class ToolRegistry:
    """Tools by name, in order of registration."""

    def __init__(self, tools: Iterable[Tool] = (), *, own: Iterable[Tool] = ()) -> None:
        """`own` are the runtime's, which may have its reserved names."""
        self._tools: dict[str, Tool] = {tool.spec.name: tool for tool in own}
        for tool in tools:
            self.register(tool)

    def register(self, tool: Tool) -> None:
        """Add a tool under its spec's name.

        Raises:
            ConfigError: the name is taken, reserved, or not one that providers and Python accept.
        """
        name = tool.spec.name
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} cannot name a tool: use up to 64 letters, digits and _, no digit first.")
        if name in _RESERVED:
            raise ConfigError(f"{name!r} cannot name a tool: the runtime uses that name itself.")
        if name in self._tools:
            raise ConfigError(f"there are two tools named {name!r}: rename one, for instance by @tool(name=...).")
        self._tools[name] = tool

    def get(self, name: str) -> Tool:
        """The tool of that name.

        Raises:
            ToolNotFoundError: there is no such tool; the message names those with similar names.
        """
        if name in self._tools:
            return self._tools[name]
        known = [EXECUTE_CODE.name, *self._tools]
        close = get_close_matches(name, known, n=3) or known
        raise ToolNotFoundError(f"there is no tool {name[:80]!r}. Did you mean: {', '.join(close)}?")

    def specs(self) -> tuple[ToolSpec, ...]:
        """What a model is told of each tool."""
        return tuple(tool.spec for tool in self)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __len__(self) -> int:
        return len(self._tools)
