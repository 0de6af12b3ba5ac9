"""Starts commands that can't outlive this process: each in a group of its own, under `keeper`.

No shell is involved, and the environment of a command is exactly what the caller gives. What is said over the pipes is
up to the caller.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KEEPER = Path(__file__).with_name("keeper.py")
_TAIL_BYTES = 4_096
_PIECE_BYTES = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program to start, with its whole environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A started command. Its standard error is read as it comes, and the last 4 KB are kept."""

    process: asyncio.subprocess.Process
    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    _tail: deque[bytes]
    _draining: asyncio.Task[None]

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    @property
    def complaint(self) -> str:
        """The end of what the command wrote to its standard error."""
        return b"".join(self._tail)[-_TAIL_BYTES:].decode(errors="replace").strip()

    async def wait(self) -> int:
        """Wait until the command has ended and its standard error is read; return its exit code."""
        code = await self.process.wait()
        await self._draining
        return code

    async def kill(self) -> None:
        """Kill the whole process group and wait until the command is gone; idempotent."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        # asyncio reports that a process has ended only when its pipes have, and a process that left the group may hold
        # them open; there is no public way to close them.
        self.process._transport.close()  # type: ignore[attr-defined]
        await self.process.wait()
        await asyncio.wait([self._draining])


def with_keeper(argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` under the keeper; this process has to start it, in a session of its own."""
    return [sys.executable, "-I", "-S", str(_KEEPER), str(os.getpid()), *argv]


async def start(command: Command, *, line_bytes: int) -> Child:
    """Start a command with pipes; a line of its output may be up to `line_bytes` long.

    Raises:
        OSError: the system can't start a process. A command that doesn't exist ends with `keeper.NOT_FOUND`.
    """
    process = await asyncio.create_subprocess_exec(
        *with_keeper(command.argv),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(command.env),
        cwd=command.cwd,
        limit=line_bytes,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    tail: deque[bytes] = deque(maxlen=_TAIL_BYTES // _PIECE_BYTES + 1)
    draining = asyncio.create_task(_drain(process.stderr, tail))
    return Child(process=process, stdin=process.stdin, stdout=process.stdout, _tail=tail, _draining=draining)


async def _drain(stream: asyncio.StreamReader, tail: deque[bytes]) -> None:
    while piece := await stream.read(_PIECE_BYTES):
        tail.append(piece)
