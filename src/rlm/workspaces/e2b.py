"""Workspaces in virtual machines that E2B lets, by its official SDK (the extra `e2b`).

A command writes into a file there, which is read by offset: so a line that drops loses nothing and repeats nothing. A
machine that ends with its host has a short time, which is extended for as long as the host lives.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from typing import TYPE_CHECKING, BinaryIO

from rlm.core.exceptions import SandboxUnavailableError
from rlm.repl.e2b.box import Box, connected, made
from rlm.repl.e2b.line import E2bConnector
from rlm.repl.owners import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rlm.repl.remote.line import End
    from rlm.workspaces.values import MachinePlan, SandboxCommand

LABEL = "rlm.workspace"
_TTL_S = 60
_FOLDER = "workspace"
_BLOCK_BYTES = 1 << 20
_LOOK_S = 0.5
_LOST_S = 60.0
"""For how long a machine that can't be reached is asked again."""
_MAKE = f"mkdir -p {_FOLDER} .rlm"
_WRAP = f'trap : TERM; own=$1; shift; echo $$ >".rlm/$own.pid"; cd {_FOLDER}; "$@" >"../.rlm/$own.log" 2>&1; c=$?'
_WRAP += '; echo $c >"../.rlm/$own.new"; mv "../.rlm/$own.new" "../.rlm/$own.code"; exit $c'
_READ = (
    'code=$(cat "$1.code" 2>/dev/null); tail -c +"$2" "$1.log" 2>/dev/null | head -c 1000000 | base64; echo ".$code"'
)
_SIGNAL = 'for pid in $(cat .rlm/*.pid); do kill -s "$1" -- "-$pid"; done 2>/dev/null; true'


class E2bMachines:
    """Implements `Provider`."""

    name = "e2b"

    def __init__(self, template: str | None) -> None:
        self._template = template
        self._boxes: list[Box] = []

    async def make(self, plan: MachinePlan) -> E2bMachine:
        if plan.mounts or plan.ports:
            raise SandboxUnavailableError(
                "a machine of E2B has no way out but the internet\nagents and --allow-host need --provider docker; "
                "--network open opens all of it"
            )
        owner, ttl_s = ({}, int(plan.limit_s)) if not plan.ends_with_host else (Owner.here().labels, _TTL_S)
        labels = {LABEL: plan.workspace, **owner}
        sandbox = await made(self._template, ttl_s, labels, is_open=plan.network == "open")
        box = Box(sandbox, ttl_s if plan.ends_with_host else None)
        self._boxes.append(box)
        machine = E2bMachine(box)
        try:
            await machine.prepare()
        except BaseException:
            await machine.end()
            raise
        return machine

    async def find(self, machine: str) -> E2bMachine | None:
        sandbox = await connected(machine)
        if sandbox is None:
            return None
        self._boxes.append(Box(sandbox, None))
        return E2bMachine(self._boxes[-1])

    async def aclose(self) -> None:
        for box in self._boxes:
            box.leave()


class E2bMachine:
    """Implements `Machine`."""

    def __init__(self, box: Box) -> None:
        self.id = str(box.sandbox.sandbox_id)
        self._box = box
        self._connector = E2bConnector(box)

    async def prepare(self) -> None:
        """Make its folders. Raises:
        SandboxUnavailableError: it can't.
        """
        await self._checked(("sh", "-c", _MAKE), "the folder can't be made there")

    async def run(self, command: SandboxCommand, heard: Callable[[bytes], None]) -> int:
        own = secrets.token_hex(8)
        variables = tuple(f"{name}={value}" for name, value in command.environment.items())
        argv = ("setsid", "-w", "sh", "-c", _WRAP, "rlm", own, "env", *variables, *command.argv)
        running = asyncio.create_task(self._executed(argv, command.stdin))
        try:
            return await self._followed(own, running, heard)
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def signal(self, *, kill: bool) -> None:
        await self._executed(("sh", "-c", _SIGNAL, "rlm", "KILL" if kill else "TERM"))

    async def forward(self, ports: Mapping[int, str]) -> None:
        raise SandboxUnavailableError(f"a machine of E2B has no way to {', '.join(ports.values())}")

    async def put(self, archive: Path) -> None:
        await self._checked(("tar", "-xz", "-C", _FOLDER, "-f", "-"), "the folder can't be unpacked there", archive)

    async def get(self, into: BinaryIO, most_bytes: int) -> None:
        said = _Said()
        code = await self._executed(("sh", "-c", f"tar -c -C {_FOLDER} -f - . | base64"), said=said)
        if code != 0:
            raise SandboxUnavailableError(f"the folder can't be read there: {_words(said)}")
        if len(said.text) * 3 // 4 > most_bytes:
            raise SandboxUnavailableError(f"the workspace has more than {most_bytes:,} bytes: remove some of it there")
        into.write(base64.b64decode(bytes(said.text)))

    async def end(self) -> None:
        await self._box.aclose()

    async def _followed(self, own: str, running: asyncio.Task[int | None], heard: Callable[[bytes], None]) -> int:
        """Hand on what the command writes, by offset, until it has ended and all is read."""
        offset, reached_at = 0, asyncio.get_running_loop().time()
        while True:
            ended = _code_of(running)
            try:
                piece, code = await self._read(own, offset)
            except SandboxUnavailableError:
                if not self._box.is_alive or asyncio.get_running_loop().time() - reached_at > _LOST_S:
                    raise
                await asyncio.sleep(_LOOK_S)
                continue
            reached_at = asyncio.get_running_loop().time()
            code = ended if code is None else code  # one that did not begin leaves no code
            if piece:
                offset += len(piece)
                heard(piece)
            elif code is not None:
                return code
            if len(piece) < _BLOCK_BYTES and code is None:
                await asyncio.wait([running], timeout=_LOOK_S)
                await asyncio.sleep(_LOOK_S / 10)

    async def _read(self, own: str, offset: int) -> tuple[bytes, int | None]:
        """What the log has from there, and the exit code once the command has ended: looked at before the log is."""
        said = _Said()
        if await self._executed(("sh", "-c", _READ, "rlm", f".rlm/{own}", str(offset + 1)), said=said) is None:
            raise SandboxUnavailableError("the line to E2B's machine was lost")
        text, _, code = bytes(said.text).rpartition(b".")
        return base64.b64decode(text), int(code) if code.strip() else None

    async def _checked(self, argv: Sequence[str], what: str, stdin: bytes | Path = b"") -> None:
        said = _Said()
        code = await self._executed(argv, stdin, said)
        if code != 0:
            raise SandboxUnavailableError(f"{what}: {_words(said)}")

    async def _executed(self, argv: Sequence[str], stdin: bytes | Path = b"", said: _Said | None = None) -> int | None:
        """Run a process to its end; its exit code, or None where the line to it was lost."""
        said = _Said() if said is None else said
        line = await self._connector.connect(argv, said)
        try:
            if isinstance(stdin, bytes):
                line.write(stdin)
            else:
                with await asyncio.to_thread(stdin.open, "rb") as file:
                    while block := await asyncio.to_thread(file.read, _BLOCK_BYTES):
                        line.write(block)
                        await line.sent()
            await line.sent()
            line.close()
            await said.ended.wait()
        except BaseException:
            line.abort()
            raise
        assert said.end is not None
        return said.end.code


class _Said:
    """Implements `Listener`: keeps what a process says."""

    def __init__(self) -> None:
        self.text = bytearray()
        self.ended = asyncio.Event()
        self.end: End | None = None

    def received(self, piece: bytes) -> None:
        self.text += piece

    def pause_writing(self) -> None:
        """`sent` holds the writer up."""

    def resume_writing(self) -> None:
        """As above."""

    def line_ended(self, end: End) -> None:
        self.end = end
        self.ended.set()


def _code_of(running: asyncio.Task[int | None]) -> int | None:
    """The exit code of a process, if it has ended and that is known."""
    return running.result() if running.done() and not running.cancelled() and not running.exception() else None


def _words(said: _Said) -> str:
    words = "" if said.end is None else said.end.words
    return (words or said.text.decode("utf-8", "replace")).strip()[-500:] or "it said nothing"
