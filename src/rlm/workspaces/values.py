"""What workspaces are asked and what they answer, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

State: TypeAlias = Literal["initializing", "running", "completed", "failed", "timeout", "killed"]
"""Of a workspace: `initializing` until its folder is there; `running` while it may be used; then how its last command
ended: `completed` with 0, `failed` with another code, `timeout` by the watchdog, `killed` by a person or with its
machine."""
Network: TypeAlias = Literal["none", "open"]

PROMPT_BYTES = 100_000
"""The most that a prompt may have."""
TAIL_BYTES = 50_000
"""How much of a command's output a result holds; the log has the rest."""
LOG_BYTES = 100_000_000
"""The most that a log holds; what comes after that is counted."""
LIMIT_S = 3600.0
TIMEOUT_CODE = 124
"""The exit code of a command that the watchdog ended."""


EGRESS_FOLDER = "/opt/rlm/egress"
"""Where a machine has the sockets that lead out."""
API_PORT, HOSTS_PORT = 8377, 8378
"""The ports of its loopback that lead to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or folder of this host that a machine may read."""

    source: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePlan:
    """What a machine is made with."""

    workspace: str
    """The id of the workspace, for a label."""
    image: str
    cpus: float = 2.0
    memory_bytes: int = 4 << 30
    disk_bytes: int = 2 << 30
    """Room in the workspace's folder; with docker it is memory too, above that of the processes."""
    pids: int = 1024
    limit_s: float = LIMIT_S
    """After how long it ends, whatever runs in it."""
    network: Network = "none"
    mounts: tuple[Mount, ...] = ()
    ports: Mapping[int, str] = field(default_factory=dict)
    """Ports of its loopback, and the Unix sockets among its mounts to which they lead."""
    ends_with_host: bool = False
    """It ends with the process that made it, however that ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxCommand:
    """What is run in a workspace: words, never a line for a shell."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = LIMIT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command ended."""

    success: bool
    """It ended by itself, with 0."""
    exit_code: int | None
    """Its own; 124 where the watchdog ended it; None where nobody knows, as when its machine went."""
    output: str
    """The last 50 KB of what it printed, masked; stdout and stderr as they came."""
    execution_time: float
    """In milliseconds."""
    state: State
    error: str | None = None
    """Why it did not end with 0, in words."""
    warnings: tuple[str, ...] = ()
    local_log_path: str
    """The file with all that it printed, up to 100 MB, masked."""
    remote_log_path: str | None = None
    """The log on the machine, where the provider keeps one there; docker doesn't."""
    output_bytes: int = 0
    """How much it printed in all."""

    @property
    def full_output(self) -> str:
        """The whole log, read now. Raises:
        OSError: it is gone.
        """
        return Path(self.local_log_path).read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceNote:
    """What the store has of a workspace."""

    id: str
    provider: str
    machine: str
    """The provider's name for its machine; empty until there is one."""
    state: State
    created_at: float
    """In seconds since 1970, as the next."""
    ends_at: float
    """When its machine ends by itself."""
    image: str
    network: Network
    cpus: float
    memory_bytes: int
    folder: str
    """The folder that went up; empty where none did."""
    command: str
    """The command that ran last, as a person would type it, masked; empty before the first."""
    exit_code: int | None
    execution_ms: float
    """How long commands have run in it."""
    is_ended: bool
    """Its machine is gone."""
