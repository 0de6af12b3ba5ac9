"""Events of a cell, and of the tools and artifacts that it asks for."""

from __future__ import annotations

from typing import ClassVar

from rlm.core.events.body import Body, Keyed
from rlm.core.types import ExecError, Final, Json  # noqa: TC001 (msgspec reads them at run time)


class ExecStart(Body, frozen=True):
    """A cell begins."""

    TYPE: ClassVar[str] = "exec.start"

    cell: int
    """From 1 within the completion."""
    code: str


class ExecOutput(Body, frozen=True):
    """A piece of what a cell printed, in order; the pieces of a cell together are what was kept of it."""

    TYPE: ClassVar[str] = "exec.output"

    text: str


class ExecEnd(Body, frozen=True):
    """A cell ended."""

    TYPE: ClassVar[str] = "exec.end"

    status: str
    """ok, error, timeout, interrupted or killed."""
    output_chars: int
    """Printed in all, kept or not."""
    duration_s: float
    error: ExecError | None = None
    final: Final | None = None
    changed: list[str] = []
    """Variables set by the cell."""
    state_reset: bool = False


CUT_OFF = "the run was cut off while it was called"


class ToolStart(Keyed, frozen=True, kw_only=True):
    """A host tool is called."""

    TYPE: ClassVar[str] = "tool.start"

    name: str
    arguments: Json
    caller: str
    """model or guest."""


class ToolEnd(Body, frozen=True):
    """A host tool answered or refused."""

    TYPE: ClassVar[str] = "tool.end"

    result: Json = None
    error: str | None = None

    @property
    def was_cut_off(self) -> bool:
        """Nobody knows what it came to: it was cut off with the run, or by the end of the cell that called it."""
        return (self.error or "").partition(":")[0] in ("CancelledError", CUT_OFF)


class ArtifactSaved(Keyed, frozen=True, kw_only=True):
    """Guest code saved a file beside the trajectory."""

    TYPE: ClassVar[str] = "artifact"

    name: str
    """Relative to `<run_id>.artifacts/`."""
    size_bytes: int
    digest: str = ""
    """SHA-256 of its bytes, 64 hex digits; empty in older records."""
