"""What a hook is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from rlm.core.types import Json

HookPoint: TypeAlias = Literal["pre_run", "post_run", "on_error", "pre_cell", "pre_tool", "pre_task", "post_task"]
POINTS: tuple[HookPoint, ...] = ("pre_run", "post_run", "on_error", "pre_cell", "pre_tool", "pre_task", "post_task")
ALIASES: Mapping[str, HookPoint] = {
    "pre_execution": "pre_run",
    "post_execution": "post_run",
    "error": "on_error",
    "execution_error": "on_error",
}
"""Other names of points, by which hooks may be registered too."""
_EXACT = "_rlm_exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookContext:
    """Where a hook is asked, and about what. Secrets are masked unless the hook is declared `exact`."""

    point: HookPoint
    run_id: str
    """The id of the run, or of the task list."""
    prompt: str = ""
    """What the run, or the task, is asked."""
    model: str = ""
    environment: str = ""
    """The sandbox."""
    workspace: tuple[str, ...] = ()
    """The folders that helpers may work in."""
    code: str = ""
    """At pre_cell: the code that is to run."""
    tool: str = ""
    """At pre_tool: the name of the tool, or of the helper's operation."""
    arguments: Mapping[str, Json] = field(default_factory=dict)
    """At pre_tool: what it is called with."""
    task: str = ""
    """At pre_task and post_task: the id of the task."""
    status: str = ""
    """At post_run, on_error and post_task: how it ended."""
    response: str = ""
    """The answer, as far as there is one."""
    error: str = ""
    """What went wrong."""
    cost_usd: float | None = None
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class HookResult:
    """What a hook says."""

    proceed: bool = True
    """False keeps what was asked about from going on."""
    message: str = ""
    """Why, for people and for the model."""


Hook: TypeAlias = Callable[[HookContext], Any]
"""A function of the context, awaited or not, that returns a `HookResult`."""
F = TypeVar("F", bound=Callable[..., Any])


def exact(function: F) -> F:
    """Declare that a hook sees texts as they are, secrets too."""
    setattr(function, _EXACT, True)
    return function


def is_exact(function: Hook) -> bool:
    """Whether a hook is declared so."""
    return getattr(function, _EXACT, False) is True
