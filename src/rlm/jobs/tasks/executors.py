"""Does a task by a program of this machine: the installed `claude` as an agent in a workspace, or any command. Prompts
go by stdin and argv, never through a shell; the program and all that it starts end with this process, and are killed as
a group; what it writes is passed on as it comes, and kept up to a cap."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.backends.claude_cli.backend import PASSED_ON as FOR_CLAUDE
from rlm.backends.claude_cli.process import missing
from rlm.backends.claude_cli.wire import read_event
from rlm.backends.cli_command import PASSED_ON as FOR_COMMANDS
from rlm.core.exceptions import BadReplyError, ConfigError, RunFailed, TimeLimitReached
from rlm.jobs.tasks.values import CLAUDE
from rlm.processes.child import Child, Command, start
from rlm.processes.keeper import NOT_FOUND
from rlm.runtime.plain_values import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.core.config import Config
    from rlm.jobs.tasks.values import ListedTask
    from rlm.runtime.control import Act, RunStatus

LINE_BYTES = 32_000_000
"""The longest line that is read whole."""
KEPT_BYTES = 8_000_000
"""How much of what a program writes is kept; beyond, its beginning and its end."""
_END_BYTES = 64_000
_PIECE_BYTES = 65_536
PROMPT = "{prompt}"
"""Stands for the prompt in the argv of a command, which then gets nothing on stdin."""
DATA_VARIABLE = "RLM_TASK_CONTEXT"
"""The variable with the path of the task's data, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a program is to do."""

    task: ListedTask
    prompt: str
    data: Any
    """What `context` would be; None where the task has none."""
    workspace: Path
    config: Config
    timeout_s: float | None
    on_output: Callable[[str], None]
    """Gets what the program writes, as it comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """What a program came to."""

    response: str
    exit_code: int
    error: str | None = None
    tokens: int = 0
    cost_usd: float | None = 0.0
    """As the program says; 0.0 for a command, which bills nobody here."""
    duration_s: float = 0.0


@dataclass(slots=True)
class _Kept:
    """The output of a program, up to the cap: its beginning and its end."""

    begin: bytearray = field(default_factory=bytearray)
    end: bytearray = field(default_factory=bytearray)
    dropped: int = 0

    def add(self, piece: bytes) -> None:
        room = KEPT_BYTES - len(self.begin)
        self.begin += piece[:room]
        self.end += piece[room:] if room < len(piece) else b""
        if len(self.end) > 2 * _END_BYTES:
            self.dropped += len(self.end) - _END_BYTES
            del self.end[:-_END_BYTES]

    @property
    def text(self) -> str:
        gap = f"\n... {self.dropped:,} bytes are left out here ...\n" if self.dropped else ""
        return self.begin.decode(errors="replace") + gap + self.end.decode(errors="replace")


class Execution:
    """A program at work, which can be paused, resumed and cancelled."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._child: Child | None = None
        self._working: asyncio.Task[Executed] | None = None
        self._is_paused = False

    @property
    def status(self) -> RunStatus | None:
        """Nothing is known of what a program does."""
        return None

    def control(self, act: Act) -> None:
        """Pause, resume or cancel it; anything else can't be done with a program."""
        match act.action:
            case "pause" | "resume":
                self._is_paused = act.action == "pause"
                self._signal()
            case "cancel" if self._working is not None:
                self._working.cancel()

    async def result(self) -> Executed:
        """Have it work to its end.

        Raises:
            RunFailed: it was cancelled, or can't be started.
            TimeLimitReached: it took too long, and was killed with all that it started.
        """
        self._working = asyncio.ensure_future(self._done())
        try:
            async with asyncio.timeout(self._order.timeout_s):
                return await self._working
        except TimeoutError as error:
            said = f"timeout_s of {self._order.timeout_s:g} s passed, and the program was killed"
            raise TimeLimitReached(said) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise RunFailed("it was cancelled") from None

    def _signal(self) -> None:
        if self._child is not None and self._child.running:
            with suppress(ProcessLookupError):
                os.killpg(self._child.process.pid, signal.SIGSTOP if self._is_paused else signal.SIGCONT)

    async def _done(self) -> Executed:
        order, began = self._order, time.monotonic()
        with tempfile.TemporaryDirectory(prefix="rlm-task-", ignore_cleanup_errors=True) as folder:
            data = _written(order.data, Path(folder))
            argv, stdin = _argv(order, data)
            command = Command(argv=argv, env=_environment(order, data), cwd=order.workspace)
            try:
                child = self._child = await start(command, line_bytes=LINE_BYTES)
            except OSError as error:
                raise RunFailed(f"{argv[0]} can't be started: {error.strerror}") from error
            self._signal()
            sending = asyncio.create_task(_send(child, stdin))
            try:
                reading = _read_claude if order.task.executor == CLAUDE else _read_command
                done = await reading(child, order.on_output)
                code = await child.wait()
            finally:
                sending.cancel()
                await child.kill()
        return _concluded(done, code, child.complaint, time.monotonic() - began)


def program_of(task: ListedTask, config: Config, environ: Mapping[str, str]) -> str:
    """The program of a task.

    Raises:
        ConfigError: it isn't installed.
    """
    name = config.claude_cli.command if task.executor == CLAUDE else task.executor[0]
    program = shutil.which(name, path=environ.get("PATH"))
    if program is None:
        raise ConfigError(missing(name) if task.executor == CLAUDE else f"{name} is not installed, or not in PATH")
    return program


def _argv(order: Order, data: Path | None) -> tuple[tuple[str, ...], str]:
    """The command line, and what the program reads from stdin."""
    program, task = program_of(order.task, order.config, os.environ), order.task
    note = "" if data is None else f"\n\nThe data of this task is in the JSON file {data}."
    if task.executor == CLAUDE:
        model = ("--model", task.model.removeprefix("claude-cli/")) if task.model else ()
        # a text that begins with a slash would be a command of the program
        return (
            program,
            "-p",
            "--verbose",
            "--output-format",
            "stream-json",
            *model,
        ), f"The task:\n{order.prompt}{note}"
    rest = tuple(each.replace(PROMPT, order.prompt) for each in task.executor[1:])
    is_given = rest != tuple(task.executor[1:])
    return (program, *rest), "" if is_given else order.prompt + note


def _environment(order: Order, data: Path | None) -> dict[str, str]:
    names = (
        FOR_CLAUDE.union(order.config.claude_cli.environment) if order.task.executor == CLAUDE else FOR_COMMANDS
    ).union(order.task.environment)
    env = {name: value for name, value in os.environ.items() if name in names}
    return env if data is None else {**env, DATA_VARIABLE: str(data)}


def _written(data: Any, folder: Path) -> Path | None:
    """The file with the data of a task; None where it has none."""
    if data is None:
        return None
    path = folder / "context.json"
    path.write_text(json.dumps(encoded(data), ensure_ascii=True), encoding="ascii")
    return path


async def _send(child: Child, prompt: str) -> None:
    with suppress(ConnectionError):  # a program need not read all of it
        child.stdin.write(prompt.encode("utf-8", "replace"))
        await child.stdin.drain()
    child.stdin.close()


async def _read_command(child: Child, on_output: Callable[[str], None]) -> Executed:
    kept = _Kept()
    while piece := await child.stdout.read(_PIECE_BYTES):
        kept.add(piece)
        on_output(piece.decode(errors="replace"))
    return Executed(response=kept.text.strip("\n"), exit_code=0)


async def _read_claude(child: Child, on_output: Callable[[str], None]) -> Executed:
    """What the agent says last; its own events are passed on as they come."""
    done = Executed(response="", exit_code=0, error="it ended without a result", cost_usd=None)
    while True:
        try:
            line = await child.stdout.readline()
        except ValueError as error:  # what asyncio raises for a line beyond the limit
            raise RunFailed(f"the program wrote a line of more than {LINE_BYTES // 1_000_000} MB") from error
        if not line:
            return done
        on_output(line.decode(errors="replace"))
        try:
            event = read_event(line)
        except BadReplyError:
            continue  # something that isn't an event, as a warning of its runtime
        if event.type == "result":
            said = event.result or ""
            tokens = 0 if event.usage is None else event.usage.tokens().total_tokens
            failed = (said or "it says that it failed") if event.is_error else None
            cost = event.total_cost_usd
            done = Executed(response=said, exit_code=0, error=failed, tokens=tokens, cost_usd=cost)


def _concluded(done: Executed, code: int, complaint: str, duration_s: float) -> Executed:
    error = done.error
    if code == NOT_FOUND:
        error = f"the program can't be run: {complaint}"
    elif code != 0:
        error = f"it ended with exit code {code}" + (f": {complaint}" if complaint else "")
    return Executed(
        response=done.response,
        exit_code=code,
        error=error,
        tokens=done.tokens,
        cost_usd=done.cost_usd,
        duration_s=duration_s,
    )
