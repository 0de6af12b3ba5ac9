"""Declares one operation of `fs`, `code`, `transform` or `git`: a plain function over a `Workspace`, with its right.

The function is written once and knows nothing of who calls it: `door` offers it to Python on the host, and to guest
code over the wire. Its signature without the workspace is its schema, the first paragraph of its docstring what a model
reads.
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
    """One operation."""

    name: str
    """With its object, as `fs.search_replace`."""
    right: Right
    function: Body
    """Takes the workspace first."""
    tool: FunctionTool
    """Its name, description and parameters, and how arguments are checked."""

    @property
    def signature(self) -> inspect.Signature:
        """Of the function without the workspace."""
        return inspect.signature(self.tool.function)

    def __call__(self, work: Workspace, /, *args: Any, **kwargs: Any) -> Json | Edit:
        """Do it, or say what is to be written; the right to it was checked by whoever calls this."""
        return self.function(work, *args, **kwargs)


def helper(name: str, *, right: Right = "read") -> Callable[[Body], Operation]:
    """Make a helper of a function `(work: Workspace, ...) -> Json | Edit` with a docstring and annotated parameters.

    What it returns is small facts, or an `Edit` whose files are then written all or none. It raises `ToolError` for
    whatever the caller can mend. For guests it runs in a worker process that is killed at its deadline, so it must
    write nothing by itself; a helper with the right "git" or "push" may, through git.
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
