"""One workspace from its making to its end: what is asked of its machine, and what the store and its folder keep."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import shlex
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.exceptions import ConfigError, SandboxUnavailableError
from rlm.core.whole_files import replace_file
from rlm.workspaces import downloads, uploads
from rlm.workspaces.output import CommandOutput
from rlm.workspaces.values import LOG_BYTES, PROMPT_BYTES, TIMEOUT_CODE, CommandResult, SandboxCommand, WorkspaceNote
from rlm.workspaces.watchdog import Watched, watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rlm.secrets.masking import SecretMasker
    from rlm.workspaces.downloads import Downloaded
    from rlm.workspaces.notes import WorkspaceStore
    from rlm.workspaces.provider import Machine, Provider
    from rlm.workspaces.values import MachinePlan, State

_COMMAND_CHARS = 300
_UP, _LOG = "uploaded.json", "output.log"


def _nothing(_text: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What workspaces are kept with: the store, what masks, and whom to tell."""

    store: WorkspaceStore
    masker: SecretMasker | None
    warn: Callable[[str], None] = field(default=_nothing)


class SandboxWorkspace:
    """A machine with a folder; see `rlm.workspaces`."""

    def __init__(self, machine: Machine, note: WorkspaceNote, keeping: Keeping) -> None:
        self.note = note
        self._machine = machine
        self._keeping = keeping

    @classmethod
    async def create(
        cls, provider: Provider, plan: MachinePlan, keeping: Keeping, folder: Path | None = None
    ) -> SandboxWorkspace:
        """Make a machine, and take `folder` there, if one is given. Raises:
        SandboxUnavailableError: the provider makes none.
        ConfigError: the folder can't go up.
        """
        folder = None if folder is None else await asyncio.to_thread(folder.resolve)
        note = WorkspaceNote(
            id=plan.workspace,
            provider=provider.name,
            machine="",
            state="initializing",
            created_at=time.time(),
            ends_at=time.time() + plan.limit_s,
            image=plan.image,
            network=plan.network,
            cpus=plan.cpus,
            memory_bytes=plan.memory_bytes,
            folder="" if folder is None else str(folder),
            command="",
            exit_code=None,
            execution_ms=0.0,
            is_ended=False,
        )
        with tempfile.TemporaryFile() as archive:
            packed = None if folder is None else await asyncio.to_thread(uploads.pack, folder, archive)
            machine = await provider.make(plan)
            made = cls(machine, replace(note, machine=machine.id), keeping)
            try:
                await made._save()
                if plan.ports:
                    await machine.forward(plan.ports)
                if packed is not None:
                    await made._take_up(archive, packed)
                await made._save(state="running")
            except BaseException:
                with suppress(SandboxUnavailableError):
                    await made.terminate(state="failed")
                raise
        return made

    @classmethod
    async def find(cls, name: str, provider: Provider, keeping: Keeping) -> SandboxWorkspace:
        """The workspace of that id, or beginning of one, or the `last`. Raises:
        ConfigError: there is none, or its machine is gone.
        """
        note = await asyncio.to_thread(keeping.store.find, name)
        machine = None if note.is_ended else await provider.find(note.machine)
        if machine is None:
            if not note.is_ended:
                await asyncio.to_thread(keeping.store.save, gone(note))
            raise ConfigError(
                f"the machine of sandbox {note.id} is gone; its log is in {log_path(keeping.store, note.id)}"
            )
        return cls(machine, note, keeping)

    async def run(self, command: SandboxCommand, heard: Callable[[str], None] = _nothing) -> CommandResult:
        """Run a command in the folder to its end, which is hard: `command.timeout_s`. `heard` is given what it prints,
        masked. What becomes of it is in the result; one that is cancelled is killed.

        Raises:
            ConfigError: its stdin is too long, or its log can't be written.
        """
        if len(command.stdin) > PROMPT_BYTES:
            size = len(command.stdin)
            raise ConfigError(
                f"the prompt has {size:,} bytes, more than {PROMPT_BYTES:,}: put it into a file of the folder"
            )
        path = log_path(self._keeping.store, self.note.id)
        try:
            output = CommandOutput(path, self._keeping.masker, heard)
        except OSError as e:
            raise ConfigError(f"the log of the sandbox can't be written, {path}: {e.strerror}") from e
        await self._save(state="running", command=self._shown(command), exit_code=None)
        begun, warnings = time.monotonic(), list[str]()
        state: State = "killed"
        code, error = None, "it was cancelled"
        try:
            state, code, error = await self._watched(command, output, warnings)
        finally:
            spent_ms = (time.monotonic() - begun) * 1000
            output.close()
            warnings += _told(output)
            await self._save(state=state, exit_code=code, execution_ms=self.note.execution_ms + spent_ms)
        return CommandResult(
            success=state == "completed",
            exit_code=code,
            output=output.tail,
            execution_time=spent_ms,
            state=state,
            error=error or None,
            warnings=tuple(warnings),
            local_log_path=str(path),
            output_bytes=output.size_bytes,
        )

    async def download(self, folder: Path | None = None, *, delete: bool = False) -> Downloaded:
        """Bring home what is otherwise there than what went up, to `folder`, else where that came from. Raises:
        ConfigError: no folder went up and none is given, or it can't be written to.
        SandboxUnavailableError: the machine doesn't give it.
        """
        if folder is None and not self.note.folder:
            raise ConfigError("no folder went up: say where to with --to FOLDER")
        target = Path(self.note.folder) if folder is None else folder
        target = await asyncio.to_thread(target.resolve)
        is_same = str(target) == self.note.folder
        with tempfile.TemporaryFile() as archive:
            await self._machine.get(archive, 2 * downloads.MOST_BYTES)
            archive.seek(0)
            base = await asyncio.to_thread(self._base) if is_same else {}
            home = await asyncio.to_thread(downloads.unpack, archive, target, base, delete=delete and is_same)
            if is_same:
                await asyncio.to_thread(self._note_base, base, home, target)
        return home

    async def checkpoint(self) -> Path:
        """Keep the folder as it is now as a tar archive among the files of the workspace, and say where. Raises:
        SandboxUnavailableError: the machine doesn't give it.
        """
        folder = await asyncio.to_thread(self._keeping.store.files, self.note.id)
        number = 1 + sum(1 for _ in folder.glob("checkpoint-*.tar"))
        path = folder / f"checkpoint-{number}.tar"
        with path.open("xb") as archive:
            try:
                await self._machine.get(archive, 2 * downloads.MOST_BYTES)
            except BaseException:
                path.unlink()
                raise
        return path

    async def terminate(self, state: State | None = None) -> None:
        """End the machine; the record and the log remain. Raises:
        SandboxUnavailableError: the provider doesn't answer.
        """
        await self._machine.end()
        await self._save(state=state or ended_state(self.note), is_ended=True)

    async def _watched(
        self, command: SandboxCommand, output: CommandOutput, warnings: list[str]
    ) -> tuple[State, int | None, str]:
        """How a command ended: the state, its code, and what to say of it."""

        def warn(text: str) -> None:
            warnings.append(text)
            self._keeping.warn(text)

        note = self.note
        about = Watched(provider=note.provider, cpus=note.cpus, memory_bytes=note.memory_bytes, warn=warn)
        limit_s = min(command.timeout_s, max(1.0, note.ends_at - time.time()))
        running = asyncio.create_task(self._machine.run(command, output.take))
        try:
            code = await watch(running, self._machine, limit_s, about)
        except SandboxUnavailableError as e:
            return "killed", None, str(e)
        if code is None:
            return "timeout", TIMEOUT_CODE, f"it was ended after its {limit_s:g} s"
        return ("failed", code, f"it ended with exit code {code}") if code else ("completed", 0, "")

    async def _take_up(self, archive: Any, packed: uploads.Packed) -> None:
        if packed.left_out:
            shown = ", ".join(packed.left_out[:5])
            self._keeping.warn(
                f"{len(packed.left_out)} files stay here: links out of the folder, or unreadable ({shown})"
            )
        archive.seek(0)
        folder = await asyncio.to_thread(self._keeping.store.files, self.note.id)
        await asyncio.to_thread(replace_file, folder / _UP, msgspec.json.encode(packed.files))
        await self._machine.put(Path(f"/proc/self/fd/{archive.fileno()}"))

    def _base(self) -> dict[str, str]:
        path = self._keeping.store.files(self.note.id) / _UP
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}

    def _note_base(self, base: dict[str, str], home: Downloaded, folder: Path) -> None:
        """Take note of what is home now: it is no conflict the next time."""
        for path in home.written:
            base[path] = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        replace_file(self._keeping.store.files(self.note.id) / _UP, msgspec.json.encode(base))

    def _shown(self, command: SandboxCommand) -> str:
        text = shlex.join(command.argv)
        masked = text if self._keeping.masker is None else self._keeping.masker.mask(text)
        return masked[:_COMMAND_CHARS]

    async def _save(self, **changes: Any) -> None:
        self.note = replace(self.note, **changes)
        await asyncio.to_thread(self._keeping.store.save, self.note)


@asynccontextmanager
async def opened(
    provider: Provider, plan: MachinePlan, keeping: Keeping, folder: Path | None
) -> AsyncIterator[SandboxWorkspace]:
    """A workspace that ends with the body. Raises: as `SandboxWorkspace.create`."""
    workspace = await SandboxWorkspace.create(provider, plan, keeping, folder)
    try:
        yield workspace
    finally:
        await workspace.terminate()


def new_id() -> str:
    """An id for a workspace."""
    return secrets.token_hex(4)


def log_path(store: WorkspaceStore, workspace: str) -> Path:
    """The log of a workspace. Raises:
    ConfigError: there is no place for it.
    """
    return store.files(workspace) / _LOG


def ended_state(note: WorkspaceNote) -> State:
    """The state of a workspace that is ended now: how its last command ended, or `killed` where one is under way."""
    is_under_way = note.state in ("initializing", "running") and note.command
    return "killed" if is_under_way else "completed" if note.state == "running" else note.state


def gone(note: WorkspaceNote) -> WorkspaceNote:
    """A workspace whose machine is found to be gone."""
    return replace(note, state=ended_state(note), is_ended=True)


def _told(output: CommandOutput) -> list[str]:
    told = []
    if output.is_cut:
        told.append(f"the log has the first {LOG_BYTES:,} of {output.size_bytes:,} bytes")
    if output.problem is not None:
        told.append(f"the log misses something: {output.problem.strerror}")
    return told
