"""Layers of confinement: prepared once in a zygote, put on by each guest right after it is forked.

A layer that the system lacks is reported, never passed over in silence; whether a guest may run without it is
for the host to decide. Nothing here ever loosens a layer.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.repl.guest import kernel
from rlm.repl.guest.linux import landlock, seccomp

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.repl.guest.linux.paths import Readable

REQUIRED = ("landlock", "seccomp")
"""Layers without which a guest must not run, unless the user said so."""

_NOBODY = 65534
_MAX_FILES = 64
_MAX_TASKS = 4096
"""Threads of all guests of a user namespace; the host watches the number of each guest."""
_NAMESPACES = kernel.NEW_USER | kernel.NEW_NET | kernel.NEW_IPC


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer as it is on this system."""

    name: str
    active: bool
    detail: str
    """What it is made of, or why it is not there."""


@dataclass(slots=True, kw_only=True)
class Confinement:
    """What a zygote prepares so that a guest needs few calls after it is forked."""

    memory_bytes: int
    """Above what the guest uses when it is forked."""
    namespaces: Layer
    ruleset: int = -1
    """The descriptor of the Landlock ruleset; -1 without."""
    landlock_detail: str = ""
    program: bytes = b""
    """The seccomp filter; empty without."""
    seccomp_detail: str = ""
    drop_user: bool = False
    """Become nobody: the zygote is root in the user namespace of the system."""
    refused: dict[str, str] = field(default_factory=dict)
    """Layers that cannot be prepared, and why."""


def enter_namespaces(*, processes: bool = False) -> Layer:
    """Move this process into its own user, network and IPC namespaces, if the system lets it; with `processes`, the
    children that it has from then on into one of process ids, which ends with the first of them.
    """
    try:
        kernel.unshare(_NAMESPACES | (kernel.NEW_PID if processes else 0))
    except (OSError, AttributeError) as e:
        return Layer(name="namespaces", active=False, detail=f"not permitted here ({e})")
    named = "user, network, IPC and processes" if processes else "user, network and IPC"
    return Layer(name="namespaces", active=True, detail=named)


def prepare(readable: Readable, memory_bytes: int, namespaces: Layer) -> Confinement:
    """Prepare what the guests of this process will be bound by; binds nothing yet."""
    plan = Confinement(memory_bytes=memory_bytes, namespaces=namespaces)
    plan.drop_user = os.geteuid() == 0 and not namespaces.active
    try:
        version = landlock.abi()
        plan.ruleset = landlock.create_ruleset(version, readable.trees, readable.listings)
        plan.landlock_detail = f"ABI {version}"
    except OSError as e:
        plan.refused["landlock"] = f"this kernel offers none, or has it off ({e})"
    try:
        plan.program = seccomp.build()
        plan.seccomp_detail = f"{os.uname().machine}, {len(plan.program) // 8} instructions"
    except OSError as e:
        plan.refused["seccomp"] = str(e)
    return plan


def apply(plan: Confinement, parent_pid: int) -> tuple[Layer, ...]:
    """Confine this process, which must have one thread, and say which layers hold."""
    memory = _attempt("limits", _limit_resources, plan)
    user = _attempt("user", _drop_user, plan)
    capabilities = _attempt("capabilities", _drop_capabilities, plan)
    kernel.set_no_new_privileges()
    files = _attempt("landlock", _restrict_files, plan)
    kernel.die_with_parent(parent_pid)  # after the credentials, whose change would undo it
    kernel.set_undumpable()
    calls = _attempt("seccomp", _filter_calls, plan)
    return (files, calls, memory, capabilities, user, plan.namespaces)


def missing(layers: tuple[Layer, ...]) -> list[Layer]:
    """The required layers that do not hold."""
    return [layer for layer in layers if layer.name in REQUIRED and not layer.active]


def _attempt(name: str, action: Callable[[Confinement], str], plan: Confinement) -> Layer:
    if name in plan.refused:
        return Layer(name=name, active=False, detail=plan.refused[name])
    try:
        return Layer(name=name, active=True, detail=action(plan))
    except (OSError, ValueError) as e:
        return Layer(name=name, active=False, detail=str(e))


def _limit_resources(plan: Confinement) -> str:
    total, data = _current_bytes()
    if plan.namespaces.active:  # else it would count all that runs under this user
        resource.setrlimit(resource.RLIMIT_NPROC, (_MAX_TASKS, _MAX_TASKS))
    for limit, value in (
        (resource.RLIMIT_AS, total + plan.memory_bytes),
        (resource.RLIMIT_DATA, data + plan.memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _MAX_FILES),
    ):
        resource.setrlimit(limit, (value, value))
    return f"{plan.memory_bytes:,} bytes of memory, {_MAX_FILES} files, no writing"


def _current_bytes() -> tuple[int, int]:
    """The address space and the private data of this process."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    size = resource.getpagesize()
    return int(pages[0]) * size, int(pages[5]) * size


def _drop_user(plan: Confinement) -> str:
    if not plan.drop_user:
        return "unchanged"
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    return f"{_NOBODY} (nobody)"


def _drop_capabilities(_plan: Confinement) -> str:
    kernel.drop_capabilities()
    return "none left"


def _restrict_files(plan: Confinement) -> str:
    landlock.restrict_self(plan.ruleset)
    os.close(plan.ruleset)
    return plan.landlock_detail


def _filter_calls(plan: Confinement) -> str:
    seccomp.install(plan.program)
    return plan.seccomp_detail
