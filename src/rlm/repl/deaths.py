"""How a guest ended that its host did not end, and the words for it, the same for every sandbox."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rlm.repl.guest.reserve import OUT_OF_MEMORY

Cause: TypeAlias = Literal["", "memory", "time", "engine", "line"]
_CAUSES: dict[Cause, str] = {
    "memory": "the sandbox ran out of memory and the kernel ended it",
    "time": "the sandbox had lived as long as it may (docker.ttl_s)",
    "engine": "the connection to the Docker engine was lost",
    "line": "the connection to the machine of the sandbox was lost",
}
_USED_UP = "the sandbox had used up its memory, and the cells freed none"
_UNKNOWN = "the sandbox ended by itself: out of memory, os._exit or a crash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """What is known of a guest's end."""

    cause: Cause = ""
    signal: int = 0
    """The signal that ended it; 0 if none did."""
    code: int | None = None
    """Its exit code, if it exited."""

    @classmethod
    def of_status(cls, status: int) -> Death:
        """The end of a process by its return code, as `subprocess` gives it: minus the signal, or the exit code."""
        return cls(signal=-status) if status < 0 else cls(code=status)


def words(death: Death | None) -> str:
    """Why a guest is gone, for the model and the record."""
    if death is None:
        return _UNKNOWN
    if death.cause:
        return _CAUSES[death.cause]
    if death.code == OUT_OF_MEMORY:
        return _USED_UP
    if death.signal == signal.SIGKILL:
        return "the sandbox was ended by SIGKILL: by the kernel for want of memory, or by code of its own"
    if death.signal:
        return f"the sandbox crashed ({_name(death.signal)})"
    return _UNKNOWN if death.code is None else f"the sandbox ended by itself, with exit code {death.code}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
