"""A second sandbox that holds nothing: Python in Deno with every permission, for what only JavaScript can try.

Never for anything but the corpus of attacks, which has to succeed against it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import REPLExecutionError
from rlm.core.types import ExecError, ExecResult, Final, Traits

if TYPE_CHECKING:
    from rlm.core.contexts.context import Context
    from rlm.core.types import ReplSpec

_GUEST = str(Path(__file__).with_name("weak_guest.mjs"))


class WeakDeno:
    """Honours the words of `Sandbox`, and none of its promises."""

    def __init__(self, deno: str, pyodide: Path) -> None:
        self._command = [deno, "run", "--allow-all", "--no-prompt", "--no-lock", "--no-config", _GUEST, str(pyodide)]

    @property
    def traits(self) -> Traits:
        return Traits(threads=False)

    async def start(self) -> None:
        return

    async def open(self, context: Context, spec: ReplSpec) -> WeakDenoRepl:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, limit=1 << 30
        )
        repl = WeakDenoRepl(process, spec)
        await repl.receive()
        return repl

    async def aclose(self) -> None:
        return


class WeakDenoRepl:
    """One process, believed in all it says."""

    def __init__(self, process: asyncio.subprocess.Process, spec: ReplSpec) -> None:
        self._process = process
        self._spec = spec

    async def execute(self, code: str, timeout_s: float | None = None) -> ExecResult:
        began_at = monotonic()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"code": code}).encode() + b"\n")
        reply = await self.receive()
        error, final = reply["error"], reply["final"]
        self._spec.on_output(reply["output"])
        return ExecResult(
            status="ok" if error is None else "error",
            output=reply["output"],
            output_chars=len(reply["output"]),
            duration_s=monotonic() - began_at,
            error=None if error is None else ExecError(kind="Error", message=error, traceback=error),
            final=Final(value=final[0], text=str(final[0])) if final else None,
        )

    async def receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        try:
            reply: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise REPLExecutionError("the guest is gone, or speaks in tongues") from error
        return reply

    async def aclose(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()
