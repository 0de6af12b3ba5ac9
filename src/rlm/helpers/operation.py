"""Declares one operation of `fs`, `code`, `transform` or `git`: a plain function over a `Workspace`, with its right.

The function is written once and doesn't know its caller: `host_objects` offers it to Python on the host, `guest_tools`
to guest code over the wire. Its signature without the workspace is its schema; the first paragraph of its docstring is
what a model reads.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from rlm.tools.decorator import FunctionTool, tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.core.types import Json
    from rlm.helpers.changes import Edit
    from rlm.helpers.rights import Right
    from rlm.helpers.workspace import Workspace

    Body: TypeAlias = Callable[..., Json | Edit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of a helper, with the right that it needs."""

    name: str
    """The name with its object, as in `fs.search_replace`."""
    right: Right
    function: Body
    """The function that does the work; its first parameter is the workspace."""
    tool: FunctionTool
    """The operation as a tool: its name, description and parameters, and the check of arguments."""

    @property
    def signature(self) -> inspect.Signature:
        """The signature of the function without the workspace."""
        return inspect.signature(self.tool.function)

    def __call__(self, work: Workspace, /, *args: Any, **kwargs: Any) -> Json | Edit:
        """Do the work, or return the edit to be written; the caller has checked the right to it."""
        return self.function(work, *args, **kwargs)


def helper(name: str, *, right: Right = "read") -> Callable[[Body], Operation]:
    """Turn a function `(work: Workspace, ...) -> Json | Edit` with a docstring and annotations into a helper.

    The function returns a few facts, or an `Edit` whose files are then written all or none. It raises `ToolError` for
    whatever the caller can put right. For guests it runs in a worker process that is killed at its deadline, so it
    must not write anything itself; a helper with the right "git" or "push" may, through git.
    """

    def make(function: Body) -> Operation:
        return Operation(name=name, right=right, function=function, tool=_tool(name, function, right == "read"))

    return make


def _tool(name: str, function: Body, reads_only: bool) -> FunctionTool:
    """The function as a tool without its first parameter."""

    @functools.wraps(function)
    def bare(*_args: Any, **_kwargs: Any) -> None:
        raise TypeError(f"{name} needs a workspace")

    _first, *rest = inspect.signature(function).parameters.values()
    bare.__signature__ = inspect.Signature(rest)  # type: ignore[attr-defined]
    bare.__annotations__ = {each.name: each.annotation for each in rest}
    return tool(name=name, reads_only=reads_only)(bare)
