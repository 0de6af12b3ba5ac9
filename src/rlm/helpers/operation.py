"""Declares one operation of `fs`, `code`, `transform` or `git`: a plain function over a `Workspace`, with its right.

The function is written once and doesn't know its caller: `host_objects` offers it to Python on the host, `guest_tools`
to guest code over the wire. Its signature without the workspace is its schema; the first paragraph of its docstring is
what a model reads. What all operations of a kind take (`exclude`, `diff_offset`) is added to it here.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from rlm.helpers.changes import Edit
from rlm.tools.decorator import FunctionTool, tool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rlm.core.types import Json
    from rlm.helpers.rights import Right
    from rlm.helpers.workspace import Workspace

    Body: TypeAlias = Callable[..., Json | Edit]

Exclude: TypeAlias = str | list[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """A parameter that all operations of a kind have."""

    parameter: inspect.Parameter
    described: str


_EXCLUDE = _Shared(
    parameter=inspect.Parameter("exclude", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Exclude),
    described='exclude: Files and folders to pass over, as lines of a .gitignore: "tests/", ["*.min.js", "docs/**"].',
)
_DIFF_OFFSET = _Shared(
    parameter=inspect.Parameter("diff_offset", inspect.Parameter.KEYWORD_ONLY, default=0, annotation=int),
    described="diff_offset: How many lines of the diff to pass over first: the next page of a long one.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of a helper, with the right that it needs."""

    name: str
    """The name with its object, as in `fs.search_replace`."""
    right: Right
    function: Body
    """The function that does the work; its first parameter is the workspace."""
    over_files: bool
    """Whether it passes over the files that fit a pattern, and takes `exclude`."""
    tool: FunctionTool
    """The operation as a tool: its name, description and parameters, and the check of arguments."""

    @property
    def signature(self) -> inspect.Signature:
        """The signature of the function without the workspace."""
        return inspect.signature(self.tool.function)

    def __call__(
        self, work: Workspace, /, *args: Any, exclude: Exclude = None, diff_offset: int = 0, **kwargs: Any
    ) -> Json | Edit:
        """Do the work, or return the edit to be written; the caller has checked the right to it."""
        done = self.function(work.without(exclude) if exclude else work, *args, **kwargs)
        return replace(done, diff_offset=diff_offset) if diff_offset and isinstance(done, Edit) else done


def helper(name: str, *, right: Right = "read", over_files: bool = False) -> Callable[[Body], Operation]:
    """Turn a function `(work: Workspace, ...) -> Json | Edit` with a docstring and annotations into a helper.

    The function returns a few facts, or an `Edit` whose files are then written all or none. It raises `ToolError` for
    whatever the caller can put right. For guests it runs in a worker process that is killed at its deadline, so it
    must not write anything itself; a helper with the right "git" or "push" may, through git.
    """

    def make(function: Body) -> Operation:
        shared = [*([_EXCLUDE] if over_files else []), *([_DIFF_OFFSET] if right == "write" else [])]
        made = _tool(name, function, shared, reads_only=right == "read")
        return Operation(name=name, right=right, function=function, over_files=over_files, tool=made)

    return make


def _tool(name: str, function: Body, shared: Sequence[_Shared], *, reads_only: bool) -> FunctionTool:
    """The function as a tool without its first parameter, and with those that it shares with others."""

    @functools.wraps(function)
    def bare(*_args: Any, **_kwargs: Any) -> None:
        raise TypeError(f"{name} needs a workspace")

    _first, *rest = inspect.signature(function).parameters.values()
    rest += [each.parameter for each in shared]
    bare.__signature__ = inspect.Signature(rest)  # type: ignore[attr-defined]
    bare.__annotations__ = {each.name: each.annotation for each in rest}
    bare.__doc__ = (function.__doc__ or "").rstrip() + "".join(f"\n        {each.described}" for each in shared)
    return tool(name=name, reads_only=reads_only)(bare)
