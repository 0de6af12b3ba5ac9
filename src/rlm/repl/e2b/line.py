"""A line through E2B's SDK: a command in the sandbox, with output that comes as text and input that keeps its order.

The SDK's own queue has no bound, so what the far process has yet to read is counted here; and its streams never notice
a server that hangs, which the lease of both ends does.
"""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, Any

from rlm.repl.e2b.box import translated
from rlm.repl.remote.line import End

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.repl.e2b.box import Box
    from rlm.repl.remote.line import Listener

_UNREAD_BYTES = 8 << 20
_SAID_CHARS = 4000
_REQUEST_S = 10.0
_NOT_FOUND = 127


class E2bConnector:
    """Implements `Connector`: every far process is a command of one sandbox."""

    as_text = True
    far = "the sandbox of E2B"

    def __init__(self, box: Box) -> None:
        self._box = box

    @property
    def is_alive(self) -> bool:
        return self._box.is_alive

    async def connect(self, command: Sequence[str], listener: Listener) -> E2bLine:
        """Run the command. Raises:
        SandboxUnavailableError: E2B doesn't.
        """
        line = E2bLine(listener)
        with translated(), self._box.watched():
            await line.open(self._box.sandbox, f"exec {shlex.join(command)}")
        return line

    async def aclose(self) -> None:
        """End the sandbox."""
        await self._box.aclose()


class E2bLine:
    """Implements `FarLine` over one command."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._said = ""
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._waiting = bytearray()
        self._more = asyncio.Event()
        self._sent = asyncio.Event()
        self._sent.set()
        self._written = 0
        self._heard = 0
        self._is_paused = False
        self._is_closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._handle: Any = None
        self._stdin: Any = None

    async def open(self, sandbox: Any, command: str) -> None:
        """Start the command, and follow it."""
        self._handle = await sandbox.commands.run(
            command,
            background=True,
            stdin=True,
            timeout=0,  # else E2B ends it after a minute
            retain_output=False,
            on_stdout=self._received,
            on_stderr=self._note,
        )
        self._stdin = await _awaited(sandbox.commands.stream_input(self._handle.pid, timeout=0))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._follow()), loop.create_task(self._send())]

    # As a FarLine.

    def write(self, piece: bytes) -> None:
        if not self._is_closing:
            self._waiting += piece
            self._written += len(piece)
            self._sent.clear()
            self._more.set()
            self._look()

    async def sent(self) -> None:
        """Wait until E2B has all that was written, or the line has ended."""
        await self._sent.wait()

    def unsent_bytes(self) -> int:
        return self._written - self._heard

    def heard(self, total_bytes: int) -> None:
        self._heard = total_bytes
        self._look()

    def pause_reading(self) -> None:
        self._may_read.clear()

    def resume_reading(self) -> None:
        self._may_read.set()

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._waiting.clear()
            self._sent.set()
            self._more.set()

    def abort(self) -> None:
        self.close()
        self._tasks[0].cancel()

    # What the SDK calls, and what calls it.

    async def _received(self, text: str) -> None:
        await self._may_read.wait()
        self._listener.received(text.encode("ascii", "replace"))

    def _note(self, text: str) -> None:
        self._said = (self._said + text)[-_SAID_CHARS:]

    def _look(self) -> None:
        """Hold the host up while too much waits."""
        too_much = self.unsent_bytes() > _UNREAD_BYTES
        if too_much != self._is_paused:
            self._is_paused = too_much
            (self._listener.pause_writing if too_much else self._listener.resume_writing)()

    async def _send(self) -> None:
        """Send what waits, all of it at one time; at the end close the command's stdin."""
        import e2b

        try:
            while not self._is_closing:
                await self._more.wait()
                self._more.clear()
                if self._waiting:
                    piece = bytes(self._waiting)
                    self._waiting.clear()
                    await self._stdin.send(piece)
                if not self._waiting:
                    self._sent.set()
            await self._end_input()
        except (e2b.SandboxException, e2b.AuthenticationException):
            return  # `_follow` tells

    async def _end_input(self) -> None:
        """Close the far process's stdin, at whose end all that have it end too."""
        import e2b

        try:
            await self._handle.close_stdin(_REQUEST_S)
        except e2b.SandboxException:  # E2B's own process there is too old for that: its lease ends what else there is
            await self._handle.kill()

    async def _follow(self) -> None:
        """Wait for the end of the command."""
        import e2b

        end = End(words="the command of the sandbox was given up")
        try:
            await self._handle.wait()
            end = End(words=self._said, code=0)
        except e2b.CommandExitException as e:
            hint = "\nname a template with Python 3.11 or later by e2b.template" if e.exit_code == _NOT_FOUND else ""
            end = End(words=f"{self._said.strip()}{hint}", code=e.exit_code)
        except e2b.SandboxException as e:
            end = End(words=f"E2B: {e}")
        finally:
            self._tasks[1].cancel()
            self._sent.set()
            self._listener.line_ended(end)


async def _awaited(given: Any) -> Any:
    """What the SDK gives, whether it gives it at once or later."""
    return await given if asyncio.iscoroutine(given) else given
