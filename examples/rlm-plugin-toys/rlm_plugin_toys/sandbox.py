"""The sandbox `toy`: each REPL is a plain Python process, which confines nothing. Never for code that isn't yours."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import REPLError
from rlm.core.fields import MemorySize, memory_bytes
from rlm.core.types import Traits
from rlm.repl import spool_folders
from rlm.repl.deaths import Death
from rlm.repl.forked import ForkedChannel
from rlm.repl.sandbox import Kind, Probe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.contexts.context import Context
    from rlm.core.types import Json

_PREFIX = "rlm-toy-"


class ToySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.toy]`."""

    memory: MemorySize = "1g"
    """Memory of one REPL above its context."""


class ToyLauncher:
    """Implements `Launcher` of `rlm.repl.sandbox`."""

    traits = Traits(threads=True, shared_context=False, layers=("nothing",))
    is_alive = True

    def __init__(self, settings: ToySettings) -> None:
        self._memory_bytes = memory_bytes(settings.memory)

    @classmethod
    async def start(cls, settings: ToySettings) -> ToyLauncher:
        await asyncio.to_thread(spool_folders.sweep, _PREFIX)  # what hosts left that were killed
        return cls(settings)

    def init(self, context: Context) -> Mapping[str, Json]:
        return {"policy": "off", "imports": [], "context": spool_folders.note(context)}

    async def launch(self, context: Context) -> ForkedChannel:
        folder = spool_folders.SpoolFolder(_PREFIX)
        try:
            path = await asyncio.to_thread(spool_folders.write, context, folder.path / "context")
            process, frames, output = _begun(str(path), self._memory_bytes)
        except OSError as error:
            folder.remove()
            raise REPLError(f"a process of the sandbox toy cannot be started: {error}") from error

        async def how_ended() -> Death | None:
            return None if process.returncode is None else Death.of_status(process.returncode)

        def clean_up() -> None:
            process.wait()
            folder.remove()

        pidfd = os.pidfd_open(process.pid)
        channel = ForkedChannel(frames, output, process.pid, pidfd, how_ended=how_ended, on_exit=clean_up)
        try:
            await channel.connect()
        except BaseException:
            channel.abandon()
            clean_up()
            raise
        return channel

    async def forget(self, context: Context) -> None:
        """Each process has a copy of its own."""

    async def aclose(self) -> None:
        """Nothing is kept."""


def _begun(path: str, most_bytes: int) -> tuple[subprocess.Popen[bytes], socket.socket, int]:
    """A process that serves cells, the host's end of its socket, and the descriptor that its output is read from."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    ends = (theirs.fileno(), writing)
    numbers = (os.getpid(), *ends)
    command = [sys.executable, "-P", "-m", "rlm_plugin_toys.guest", *map(str, numbers), path, str(most_bytes)]
    environment = {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
    except OSError:
        ours.close()
        os.close(reading)
        raise
    finally:
        theirs.close()
        os.close(writing)
    return process, ours, reading


async def _probe(settings: ToySettings) -> Probe:
    return Probe(ok=True, detail=f"starts plain processes with {settings.memory} and confines nothing")


TOY = Kind(
    name="toy",
    section=lambda config: config.plugin("toy", ToySettings),
    start=ToyLauncher.start,
    probe=_probe,
)
