"""The seam between workspaces and what has machines: Docker on this machine, and others later."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rlm.workspaces.values import MachinePlan, SandboxCommand

FOLDER = "/workspace"
"""Where the folder of a workspace is on its machine."""


class Machine(Protocol):
    """One machine. Whatever is asked of one that is gone raises `SandboxUnavailableError`."""

    id: str
    """The provider's name for it, by which `Provider.find` finds it again."""

    async def run(self, command: SandboxCommand, heard: Callable[[bytes], None]) -> int:
        """Run a command in the folder and return its exit code once it has ended; `heard` is given what it prints, in
        order, each byte once. A command that is cancelled is killed.

        Raises:
            SandboxUnavailableError: it does not start, or nobody knows how it ended: the machine, or the way to it, is
                gone.
        """
        ...

    async def signal(self, *, kill: bool) -> None:
        """Ask every process of commands to end, or make it."""
        ...

    async def forward(self, ports: Mapping[int, str]) -> None:
        """Let ports of the machine's loopback lead to Unix sockets among its mounts, until it ends. Raises:
        SandboxUnavailableError: it has no program for that.
        """
        ...

    async def put(self, archive: Path) -> None:
        """Unpack a gzipped tar archive into the folder. Raises:
        SandboxUnavailableError: there is no room, or no tar.
        """
        ...

    async def get(self, into: BinaryIO, most_bytes: int) -> None:
        """Write the folder as a tar archive. Raises:
        SandboxUnavailableError: it can't be read, or is larger than `most_bytes`.
        """
        ...

    async def end(self) -> None:
        """End it, and all that runs in it; idempotent."""
        ...


class Provider(Protocol):
    """What makes machines."""

    name: str

    async def make(self, plan: MachinePlan) -> Machine:
        """Start a machine with an empty folder. Raises:
        SandboxUnavailableError: it can't; says why, and what to do.
        """
        ...

    async def find(self, machine: str) -> Machine | None:
        """The machine of that name; None if it is gone. Raises:
        SandboxUnavailableError: the provider doesn't answer.
        """
        ...

    async def aclose(self) -> None:
        """Leave the provider; machines stay, but for those that end with their host."""
        ...
