"""What every container of ours is held to, whatever runs in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping


def hardened(*, memory_bytes: int, cpus: float, pids: int, security: tuple[str, ...] = ()) -> dict[str, Any]:
    """The arguments of docker-py's `create_host_config` that confine a container; `security` are options besides
    no-new-privileges.
    """
    return {
        "auto_remove": True,
        "cap_drop": ["ALL"],
        "dns_search": ["."],
        "init": False,
        "ipc_mode": "none",
        "log_config": {"Type": "none", "Config": {}},
        "mem_limit": memory_bytes,
        "memswap_limit": memory_bytes,
        "nano_cpus": int(cpus * 1e9),
        "pids_limit": pids,
        "read_only": True,
        "security_opt": ["no-new-privileges", *security],
    }


def no_network() -> dict[str, Any]:
    """The arguments that leave it no network but its own loopback."""
    return {"network_mode": "none", "dns": ["0.0.0.0"]}  # noqa: S104 - none: else the host's own would be told


def require_limits(answer: Mapping[str, Any]) -> None:
    """Refuse an engine that says it drops a limit. Raises:
    SandboxUnavailableError: it does.
    """
    if dropped := [warning for warning in answer.get("Warnings") or () if _is_dropped_limit(warning)]:
        raise SandboxUnavailableError(
            f"the engine does not hold containers to their limits: {' '.join(dropped)}\n"
            "give it the control groups for memory and pids (rootless engines need cgroup v2 with delegation)"
        )


def _is_dropped_limit(warning: str) -> bool:
    words = warning.lower()
    return "swap" not in words and any(word in words for word in ("memory", "pids", "cpu", "seccomp"))
