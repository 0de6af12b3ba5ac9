"""A sandbox that holds nothing, over the same wire: an unconfined process, and a host half that believes it.

The corpus of attacks has to succeed against it, or it shows nothing of the others. Never for anything else.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import REPLExecutionError
from rlm.core.types import ExecError, ExecResult, Final, Traits
from rlm.repl.guest.wire import HEADER
from tests.support.attacks.stage import INHERITED

if TYPE_CHECKING:
    from rlm.core.contexts.context import Context
    from rlm.core.types import ReplSpec

_GUEST = str(Path(__file__).with_name("weak_guest.py"))


class WeakSandbox:
    """Honours the words of `Sandbox`, and none of its promises."""

    @property
    def traits(self) -> Traits:
        return Traits()

    async def start(self) -> None:
        return

    async def open(self, context: Context, spec: ReplSpec) -> WeakRepl:
        repl = WeakRepl(spec)
        await repl.start()
        return repl

    async def aclose(self) -> None:
        return


class WeakRepl:
    """One process, with the environment and the descriptors of this one; no timeout, no cap, no check."""

    def __init__(self, spec: ReplSpec) -> None:
        self._spec = spec
        self._cells = 0

    async def start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, _GUEST, str(theirs.fileno())], pass_fds=(theirs.fileno(), INHERITED),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._output = asyncio.StreamReader(limit=1 << 30)
        self._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._output), self._process.stdout
        )
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        self._send({"t": "init", "functions": list(self._spec.functions)})
        await self._receive()

    async def execute(self, code: str, timeout_s: float | None = None) -> ExecResult:
        self._cells += 1
        began_at, mark = monotonic(), f"mark {self._cells}"
        self._send({"t": "exec", "id": self._cells, "code": code, "mark": mark})
        try:
            done = await self._done()
            output = (await self._output.readuntil(f"{mark}\n".encode())).decode("utf-8", "replace")
        except (EOFError, OSError) as error:
            raise REPLExecutionError(f"the guest is gone: {error}") from error
        self._spec.on_output(output)
        error, final = done["error"], done["final"]
        return ExecResult(
            status="ok" if error is None else "error",
            output=output.removesuffix(f"{mark}\n"),
            output_chars=len(output),
            duration_s=monotonic() - began_at,
            error=None if error is None else ExecError(**error),
            final=None if final is None else Final(value=final["value"], text=str(final["value"])),
        )

    async def aclose(self) -> None:
        self._writer.close()
        self._pipe.close()
        self._process.kill()
        self._process.wait()
        await asyncio.sleep(0)  # for the transports to close what they hold

    async def _done(self) -> dict[str, Any]:
        """Whatever end comes first; until then every call is answered."""
        while (message := await self._receive())["t"] != "done":
            if message["t"] == "call":
                answer = await self._spec.call(message["name"], tuple(message["args"]), message["kwargs"])
                self._send({"t": "reply", "id": message["id"], "value": answer})
        return message

    def _send(self, message: dict[str, Any]) -> None:
        payload = json.dumps(message).encode()
        self._writer.write(HEADER.pack(len(payload), 0) + payload)

    async def _receive(self) -> dict[str, Any]:
        length, _kind = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        message: dict[str, Any] = json.loads(await self._reader.readexactly(length))
        return message
