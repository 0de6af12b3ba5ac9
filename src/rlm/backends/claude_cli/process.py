"""One warm `claude -p`: started with everything switched off that isn't the model, asked one question at a time.

It has an empty working directory, no tools, no hooks, no MCP servers, no memory files, and leaves no session on disk.
It reads no key: which variables the program gets is decided by the backend.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.backends.claude_cli.errors import to_error
from rlm.backends.claude_cli.wire import CLEAR, ProgramEvent, ProgramReply, read_event
from rlm.core.exceptions import BackendConnectionError, BadReplyError
from rlm.processes.child import Child, Command, start
from rlm.processes.keeper import NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.types import ModelReply

LINE_BYTES = 32_000_000
REPLY_BYTES = 64_000_000
"""The most bytes that a process may write for one call."""
_CLEAR_S = 10.0
_SWITCHES = {
    "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",  # an `@/etc/passwd` in a prompt must stay a text
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "0",  # retries are ours, and recorded
    "DISABLE_AUTOUPDATER": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramKind:
    """What a process is started with and can't change: a call needs one of its kind."""

    model: str
    system: str
    max_output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How processes are started."""

    program: str
    env: Mapping[str, str] = field(repr=False)
    idle_s: float
    """The longest silence of a process while it works, in seconds."""


class ClaudeProcess:
    """One process of one kind; after each call it must be cleared before the next."""

    def __init__(self, kind: ProgramKind, child: Child, folder: Path, idle_s: float) -> None:
        self.kind = kind
        self._child = child
        self._folder = folder
        self._idle_s = idle_s
        self._session = ""
        self.usable = True
        """Whether its last call ended in order."""

    @classmethod
    async def start(cls, kind: ProgramKind, launch: Launch) -> ClaudeProcess:
        """Start one; it takes half a second until it answers.

        Raises:
            BackendConnectionError: the program is missing (perhaps while it is updated), or the system can't start it.
        """
        program = shutil.which(launch.program, path=launch.env.get("PATH"))
        if program is None:
            raise BackendConnectionError(missing(launch.program), billed=False)
        folder = Path(tempfile.mkdtemp(prefix="rlm-claude-"))
        try:
            command = Command(argv=_argv(program, kind, folder), env=_env(kind, launch), cwd=folder / "empty")
            child = await start(command, line_bytes=LINE_BYTES)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                said = f"{launch.program} can't be started: {error.strerror}"
                raise BackendConnectionError(said, billed=False) from error
            raise
        return cls(kind, child, folder, launch.idle_s)

    async def ask(self, line: bytes) -> ModelReply:
        """Send one message and read its reply. After any failure the process can't be used again.

        Raises:
            BackendError: as the result says, or because of what the process did.
        """
        self.usable = False
        draft, size = ProgramReply(), 0
        await self._send(line)
        while True:
            event, read_bytes = await self._event(self._idle_s)
            size += read_bytes
            if size > REPLY_BYTES:
                raise BadReplyError(f"claude wrote more than {REPLY_BYTES // 1_000_000} MB for one call")
            draft.add(event)
            if draft.ends_early:
                await self.kill()  # at once: it would go on, at our cost
                return draft.early_reply()
            if event.type == "result":
                break
        self._session = event.session_id
        if event.is_error:
            raise to_error(event, draft)
        self.usable = True
        return draft.reply(event)

    async def clear(self) -> None:
        """Have it forget the conversation; unless it confirms that by a new session, it can't be used again."""
        before, self.usable = self._session, False
        try:
            async with asyncio.timeout(_CLEAR_S):
                await self._send(CLEAR)
                while (event := (await self._event(_CLEAR_S))[0]).type != "result":
                    pass
        except (BackendConnectionError, BadReplyError, TimeoutError):
            return
        self._session = event.session_id
        self.usable = not event.is_error and bool(before) and event.session_id not in ("", before)

    @property
    def running(self) -> bool:
        return self._child.running

    async def kill(self) -> None:
        """End the process and all that it started, and remove its folder; idempotent."""
        self.usable = False
        await self._child.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _send(self, line: bytes) -> None:
        try:
            self._child.stdin.write(line)
            async with asyncio.timeout(self._idle_s):
                await self._child.stdin.drain()
        except TimeoutError as error:
            raise BackendConnectionError(f"claude took no input for {self._idle_s:g} s (idle_timeout_s)") from error
        except ConnectionError as error:
            raise await self._gone() from error

    async def _event(self, patience_s: float) -> tuple[ProgramEvent, int]:
        try:
            async with asyncio.timeout(patience_s):
                line = await self._child.stdout.readline()
        except TimeoutError as error:
            raise BackendConnectionError(f"claude said nothing for {patience_s:g} s (idle_timeout_s)") from error
        except ValueError as error:  # what asyncio raises for a line beyond the limit
            raise BadReplyError(f"claude wrote a line of more than {LINE_BYTES // 1_000_000} MB") from error
        if not line:
            raise await self._gone()
        return read_event(line), len(line)

    async def _gone(self) -> BackendConnectionError:
        code = await self._child.wait()
        said = self._child.complaint.replace("\n", " ")[-300:]
        if code == NOT_FOUND:
            return BackendConnectionError(f"claude can't be run: {said}", billed=False)
        return BackendConnectionError(f"claude ended in mid-call with exit code {code}" + (f": {said}" if said else ""))


def missing(program: str) -> str:
    """The message for a program that isn't installed."""
    return (
        f"{program} is not installed, or not in PATH\n"
        "install Claude Code (npm install -g @anthropic-ai/claude-code) and log in, or set [claude_cli] command"
    )


def _argv(program: str, kind: ProgramKind, folder: Path) -> tuple[str, ...]:
    (folder / "empty").mkdir()
    system = folder / "system.txt"  # a file: a command line is limited in length, and everybody can read it
    system.write_text(kind.system, encoding="utf-8", errors="replace")
    return (
        program,
        *("-p", "--verbose", "--input-format", "stream-json", "--output-format", "stream-json"),
        *("--include-partial-messages", "--no-session-persistence", "--strict-mcp-config", "--tools", ""),
        *("--settings", '{"disableAllHooks":true}', "--max-turns", "1"),
        *("--model", kind.model, "--system-prompt-file", str(system)),
    )


def _env(kind: ProgramKind, launch: Launch) -> dict[str, str]:
    return {**launch.env, **_SWITCHES, "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(kind.max_output_tokens)}
