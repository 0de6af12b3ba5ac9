"""How much CPU time a container has used, as the host sees it, whatever the guest says.

Read from the container's control group where the engine runs on this machine; asked of the engine otherwise.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import REPLError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_ROOT = Path("/sys/fs/cgroup")
_ASK_EVERY_S = 1.0
_READ_BYTES = 4096


class GroupMeter:
    """Reads the accounting file of a control group, some microseconds each time."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._scale = 1e-6 if path.name == "cpu.stat" else 1e-9
        self._last_s = 0.0

    def cpu_s(self) -> float | None:
        """The CPU seconds of all processes that were ever in the container."""
        with suppress(OSError, ValueError, IndexError):  # the container is gone: what it had used stays
            words = os.pread(self._file, _READ_BYTES, 0).split()
            self._last_s = int(words[1] if words[0] == b"usage_usec" else words[0]) * self._scale
        return self._last_s

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class AskedMeter:
    """Has the engine's own figure fetched from time to time; up to a second old."""

    def __init__(self, ask: Callable[[], Awaitable[Any]]) -> None:
        """`ask` gets the statistics of the container from the engine."""
        self._ask = ask
        self._last_s: float | None = None
        self._asking = asyncio.get_running_loop().create_task(self._follow())

    def cpu_s(self) -> float | None:
        """The CPU seconds as the engine last told them; None until it has answered once."""
        return self._last_s

    def close(self) -> None:
        self._asking.cancel()

    async def _follow(self) -> None:
        while True:
            with suppress(REPLError, LookupError):  # no answer this time, or one without figures
                stats = await self._ask()
                self._last_s = max(stats["cpu_stats"]["cpu_usage"]["total_usage"] * 1e-9, self._last_s or 0.0)
            await asyncio.sleep(_ASK_EVERY_S)


def group_file(pid: int, container: str) -> Path | None:
    """The accounting file of the control group of process `pid`; None if the container is not on this machine."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        if container in path:
            for file in _candidates(controllers, path.lstrip("/")):
                if os.access(file, os.R_OK):
                    return file
    return None


def _candidates(controllers: str, path: str) -> list[Path]:
    if not controllers:
        return [_ROOT / path / "cpu.stat"]
    if "cpuacct" not in controllers.split(","):
        return []
    return [_ROOT / folder / path / "cpuacct.usage" for folder in (controllers, "cpuacct")]
