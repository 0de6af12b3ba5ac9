"""Models behind any command that takes a prompt on its standard input and answers on its standard output.

No shell is involved. Such a command doesn't report what it bills: usage is estimated, and output is bounded by size and
time, not by tokens.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.backends.estimate import estimate_usage
from rlm.backends.redact import redact
from rlm.core.exceptions import BackendConnectionError, BadReplyError, BadRequestError, ConfigError
from rlm.core.fields import memory_bytes
from rlm.core.types import ModelReply, ModelTraits
from rlm.processes.child import Child, Command, start
from rlm.processes.keeper import NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rlm.backends import BackendSetup
    from rlm.core.config import CommandConfig
    from rlm.core.types import Message, ModelRequest

PASSED_ON = frozenset({"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"})
_PIECE_BYTES = 65_536


class CommandBackend:
    """Answers calls of model `cli/NAME` by running the command of `[cli.NAME]`, once for each call."""

    on_loop = True

    def __init__(self, commands: Mapping[str, CommandConfig], environ: Mapping[str, str]) -> None:
        self._commands = commands
        self._environ = environ

    @classmethod
    def from_setup(cls, setup: BackendSetup) -> CommandBackend:
        """Make the backend from configuration."""
        return cls(setup.config.cli, setup.environ)

    def traits(self, model: str) -> ModelTraits:
        """The traits of a command: it takes no native tool calls. Raises:
        ConfigError: there is no such command, or its program isn't installed.
        """
        self._program(self._configured(model))
        return ModelTraits(native_tools=False)

    async def call(self, request: ModelRequest) -> ModelReply:
        """Run the command; a reply over the output cap in tokens is passed on whole. Raises as the interface says."""
        config = self._configured(request.model)
        if any(message.images for message in request.messages):
            raise BadRequestError(f"cli/{request.model} takes text alone: images can't be passed to it")
        with tempfile.TemporaryDirectory(prefix="rlm-cli-", ignore_cleanup_errors=True) as folder:
            text = await self._run(request, config, Path(folder))
        return ModelReply(text=text, usage=estimate_usage(request, text))

    async def aclose(self) -> None:
        """Nothing outlives its call."""

    def _configured(self, model: str) -> CommandConfig:
        if model not in self._commands:
            known = ", ".join(f"cli/{name}" for name in self._commands) or "none"
            raise ConfigError(f"there is no command [cli.{model}] in the configuration; there are: {known}")
        return self._commands[model]

    def _program(self, config: CommandConfig) -> str:
        program = shutil.which(config.command[0], path=self._environ.get("PATH"))
        if program is None:
            raise ConfigError(f"{config.command[0]}, a command of [cli], is not installed or not in PATH")
        return program

    async def _run(self, request: ModelRequest, config: CommandConfig, folder: Path) -> str:
        names = PASSED_ON.union(config.environment)
        env = {name: value for name, value in self._environ.items() if name in names}
        argv = (self._program(config), *config.command[1:])
        who = f"cli/{request.model}"
        try:
            child = await start(Command(argv=argv, env=env, cwd=folder), line_bytes=_PIECE_BYTES)
        except OSError as error:
            raise BackendConnectionError(f"{who} can't be started: {error.strerror}", billed=False) from error
        try:
            async with asyncio.timeout(config.request_timeout_s):
                answer = await _answer(child, prompt_of(request.messages), memory_bytes(config.output), who)
                code = await child.wait()
        except TimeoutError as error:
            raise BackendConnectionError(f"{who}: no reply within {config.request_timeout_s:g} s") from error
        finally:
            await child.kill()
        _check(code, child.complaint, who)
        return answer


async def _answer(child: Child, prompt: str, most_bytes: int, who: str) -> str:
    """Write the prompt and read the output at the same time, so that neither side waits for the other."""
    sending = asyncio.create_task(_send(child, prompt.encode("utf-8", "replace")))
    try:
        answer = bytearray()
        while piece := await child.stdout.read(_PIECE_BYTES):
            answer += piece
            if len(answer) > most_bytes:
                raise BadReplyError(f"{who} wrote more than {most_bytes:,} bytes (output)")
        return answer.decode(errors="replace").strip("\n")
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending


async def _send(child: Child, prompt: bytes) -> None:
    with suppress(ConnectionError):  # a command need not read all of its prompt
        child.stdin.write(prompt)
        await child.stdin.drain()
    child.stdin.close()


def _check(code: int, complaint: str, who: str) -> None:
    said = f": {redact(complaint, None)}" if complaint else ""
    if code == NOT_FOUND:
        raise BadRequestError(f"{who} can't be run{said}")
    if code != 0:
        raise BadRequestError(f"{who} ended with exit code {code}{said}", billed=True)


def prompt_of(messages: Sequence[Message]) -> str:
    """The text of the messages: one question alone as it is, anything else under headings."""
    if len(messages) == 1:
        return messages[0].content
    parts = [f"## {message.role}\n\n{message.content}" for message in messages]
    return "\n\n".join((*parts, "## assistant\n"))
