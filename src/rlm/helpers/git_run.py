"""Runs git so that nothing which a repository configures is run by it, with a deadline and a cap on what it says.

Only argument lists, never a shell. The environment is made anew; settings of the repository that name commands are
overridden by name, which `git_repository` finds out. No transport is allowed but for a push.
"""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from rlm.core.exceptions import ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 30.0
MAX_OUTPUT_BYTES = 8 << 20
_GRACE_S = 2.0
_SAID_CHARS = 600
_READ_BYTES = 1 << 16

_NOWHERE = os.devnull
_FALSE = "false"

SETTINGS: dict[str, str] = {
    "core.hooksPath": _NOWHERE,
    "core.fsmonitor": _FALSE,
    "core.untrackedCache": _FALSE,
    "core.quotePath": _FALSE,
    "core.askPass": "",
    "core.attributesFile": _NOWHERE,
    "core.alternateRefsCommand": _FALSE,
    "core.gitProxy": "",
    "credential.helper": "",
    "commit.gpgSign": _FALSE,
    "tag.gpgSign": _FALSE,
    "push.gpgSign": _FALSE,
    "gpg.program": _FALSE,
    "gpg.openpgp.program": _FALSE,
    "gpg.x509.program": _FALSE,
    "gpg.ssh.program": _FALSE,
    "gpg.ssh.defaultKeyCommand": _FALSE,
    "log.showSignature": _FALSE,
    "blame.ignoreRevsFile": "",
    "gc.auto": "0",
    "maintenance.auto": _FALSE,
    "submodule.recurse": _FALSE,
    "push.recurseSubmodules": "no",
    "diff.ignoreSubmodules": "all",
    "protocol.allow": "never",
    "color.ui": _FALSE,
    "advice.detachedHead": _FALSE,
}
"""What every command is told, over whatever the repository says."""

ENVIRONMENT: dict[str, str] = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": _NOWHERE,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": _FALSE,
    "SSH_ASKPASS": _FALSE,
    "GIT_EDITOR": _FALSE,
    "GIT_SEQUENCE_EDITOR": _FALSE,
    "GIT_PAGER": "cat",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_SSH_COMMAND": _FALSE,
    "GIT_SSH_VARIANT": "ssh",
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that came to its end."""

    code: int
    output: bytes
    said: str
    """On standard error, shortened."""
    was_cut: bool
    """There was more output than the cap; git was stopped there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The git of this machine, in one folder, with settings that no repository can change."""

    folder: str
    environ: Mapping[str, str]
    """The user's: `PATH`, `HOME`."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Settings of this repository that name commands, and what they are instead."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Environment that one command needs more."""

    def run(self, *arguments: str, stdin: bytes = b"", most: int = MAX_OUTPUT_BYTES) -> Done:
        """Run one command to its end, or until `most` bytes of output have come.

        Raises:
            ToolError: there is no git, or it took longer than 30 s.
        """
        path = search_path(self.environ)
        found = shutil.which("git", path=path)
        if found is None:
            raise ToolError("git: there is no git program on the PATH.")
        env = {"PATH": path, "HOME": _NOWHERE, **ENVIRONMENT, **self._settings(), **self.extra}
        process = subprocess.Popen(  # noqa: S603 - a list, and no name in it can be an option by accident
            [found, "--no-pager", *arguments],
            cwd=self.folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                return _drained(process, stdin, most, arguments[0])
            finally:
                _end(process)

    def checked(self, *arguments: str, stdin: bytes = b"", most: int = MAX_OUTPUT_BYTES) -> Done:
        """As `run`, for a command that should succeed.

        Raises:
            ToolError: it failed; says what git said.
        """
        done = self.run(*arguments, stdin=stdin, most=most)
        if done.code and not done.was_cut:
            raise ToolError(f"git {arguments[0]} failed: {done.said or f'it ended with {done.code}'}")
        return done

    def _settings(self) -> dict[str, str]:
        settings = {**SETTINGS, **self.overrides}
        pairs = {"GIT_CONFIG_COUNT": str(len(settings))}
        for number, (key, value) in enumerate(settings.items()):
            pairs[f"GIT_CONFIG_KEY_{number}"] = key
            pairs[f"GIT_CONFIG_VALUE_{number}"] = value
        return pairs


def search_path(environ: Mapping[str, str]) -> str:
    """Where programs are looked for: never relative to a folder that may be a stranger's."""
    entries = environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if entry.startswith("/")) or os.defpath


def _drained(process: subprocess.Popen[bytes], stdin: bytes, most: int, command: str) -> Done:
    """Write the input and read both outputs until they end."""
    deadline = time.monotonic() + TIMEOUT_S
    output, errors = bytearray(), bytearray()
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, output)
        selector.register(process.stderr, selectors.EVENT_READ, errors)
        left = _Input(process.stdin, stdin, selector)
        while any(key.data is not left for key in selector.get_map().values()):
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise ToolError(f"git {command} took longer than {TIMEOUT_S:g} s and was stopped.")
            for key, _ in ready:
                left.write() if key.data is left else _read(key, selector)
            if len(output) > most:
                return Done(code=0, output=bytes(output[:most]), said=_said(errors), was_cut=True)
    code = process.wait(max(0.1, deadline - time.monotonic()))
    return Done(code=code, output=bytes(output), said=_said(errors), was_cut=False)


class _Input:
    """What is still to be written to a process."""

    def __init__(self, pipe: IO[bytes], content: bytes, selector: selectors.BaseSelector) -> None:
        self._pipe = pipe
        self._rest = memoryview(content)
        self._selector = selector
        os.set_blocking(pipe.fileno(), False)
        selector.register(pipe, selectors.EVENT_WRITE, self)

    def write(self) -> None:
        try:
            self._rest = self._rest[os.write(self._pipe.fileno(), self._rest[:_READ_BYTES]) :] if self._rest else b""  # type: ignore[assignment]
        except BrokenPipeError:
            self._rest = memoryview(b"")  # it reads no more; its exit code says why
        if not self._rest:
            self._selector.unregister(self._pipe)
            self._pipe.close()


def _read(key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
    piece = os.read(key.fd, _READ_BYTES)
    if not piece:
        selector.unregister(key.fileobj)
    elif len(key.data) <= MAX_OUTPUT_BYTES:
        key.data.extend(piece)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let git remove its lock files before it is killed."""
    if process.poll() is not None:
        return
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
        return
    process.kill()


def _said(errors: bytearray) -> str:
    text = bytes(errors[: 4 * _SAID_CHARS]).decode("utf-8", "replace").strip()
    return text if len(text) <= _SAID_CHARS else f"{text[:_SAID_CHARS]}..."
