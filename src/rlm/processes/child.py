"""Starts commands that can't outlive this process: each in a group of its own, under `process_keeper`.

No shell is involved, and of the environment a command gets what it is given. What is said over the pipes is the
caller's affair.
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
    """What to start."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    """All of it."""
    cwd: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A started command; its standard error is drained, and the end of it kept."""

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
        """The end of what it wrote to its standard error."""
        return b"".join(self._tail)[-_TAIL_BYTES:].decode(errors="replace").strip()

    async def wait(self) -> int:
        """Its exit code, when it has ended and its standard error is read."""
        code = await self.process.wait()
        await self._draining
        return code

    async def kill(self) -> None:
        """Kill its whole group and wait until it is gone; idempotent."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        # asyncio reports the end of no process before that of its pipes, which a process that left the group may hold;
        # there is no public way to close them.
        self.process._transport.close()  # type: ignore[attr-defined]
        await self.process.wait()
        await asyncio.wait([self._draining])


def kept(argv: Sequence[str]) -> list[str]:
    """`argv` under the keeper: to be started by this process, in a session of its own."""
    return [sys.executable, "-I", "-S", str(_KEEPER), str(os.getpid()), *argv]


async def start(command: Command, *, line_bytes: int) -> Child:
    """Start a command with pipes; a line of its output may have `line_bytes`.

    Raises:
        OSError: the system can't start a process. A command that isn't there ends with `process_keeper.NOT_FOUND`.
    """
    process = await asyncio.create_subprocess_exec(
        *kept(command.argv),
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
