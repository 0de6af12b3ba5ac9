"""The suites: each a class to inherit from, with one method that makes the thing to be proved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.testing.awaits import Awaits
from rlm.testing.calls import Calls, CallsWithoutPolicy
from rlm.testing.cells import Cells, CellsWithoutPolicy
from rlm.testing.contexts import Contexts, ContextsWithoutPolicy
from rlm.testing.hosts import Hosts
from rlm.testing.interrupts import CellInterrupts, CellInterruptsWithoutPolicy
from rlm.testing.limits import CellLimits
from rlm.testing.parts import WorkOnParts

if TYPE_CHECKING:
    from rlm.core.interfaces import Sandbox
    from rlm.repl.live import Limits


class PolicySuite(Awaits, Cells, Calls, Contexts, CellInterrupts, WorkOnParts):
    """What every sandbox keeps, also one whose policy lets cells use a part of Python only."""

    @classmethod
    def make(cls, limits: Limits, memory: str) -> Sandbox:
        """The sandbox to be proved: each cell has these limits, each REPL this memory above its context, as `256m`."""
        raise NotImplementedError(f"{cls.__name__} has no make(limits, memory)")


class SandboxSuite(
    PolicySuite,
    CellsWithoutPolicy,
    CallsWithoutPolicy,
    ContextsWithoutPolicy,
    CellInterruptsWithoutPolicy,
    CellLimits,
    Hosts,
):
    """What every sandbox keeps whose cells may use all of Python."""
