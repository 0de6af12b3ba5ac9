"""Runs git so that nothing which a repository configures is run by it, with a deadline and a cap on what it says.

Only argument lists, never a shell. The environment is made anew; settings of the repository that name commands are
overridden by name; `settings` finds out which. No transport is allowed but for a push. What changes a repository
runs under a keeper: however its caller ends, git is told to, and removes its lock files.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.processes.child import with_keeper

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TIMEOUT_S = 60.0
MAX_OUTPUT_BYTES = 64 << 20
_GRACE_S = 3.0
"""Longer than what the keeper gives git."""
_SAID_CHARS = 600
_PIECE_BYTES = 1 << 16

_NOWHERE = os.devnull
_FALSE = "false"
"""To git a boolean; where it expects a program, the one of that name, which fails."""

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
    "gc.auto": "0",
    "maintenance.auto": _FALSE,
    "submodule.recurse": _FALSE,
    "push.recurseSubmodules": "no",
    "diff.ignoreSubmodules": "all",
    "diff.autoRefreshIndex": _FALSE,
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
    "mailmap.file": "",
    "mailmap.blob": "",
    "push.negotiate": _FALSE,
    "protocol.allow": "never",
    "color.ui": _FALSE,
    "advice.detachedHead": _FALSE,
}
"""What every command is told, over whatever the repository says."""

ENVIRONMENT: dict[str, str] = {
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
_NOBODYS: dict[str, str] = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": _NOWHERE, "GIT_ATTR_NOSYSTEM": "1"}
_OF_USER = ("PATH", "HOME", "XDG_CONFIG_HOME")

_LOCKED = re.compile(r"Unable to create '([^'\n]+\.lock)': File exists")
_USER_OF_URL = re.compile(r"://[^/\s]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that came to its end."""

    code: int
    output: bytes
    said: str
    """On standard error: shortened, "?" for each character that can't be seen, no user or password in a URL."""
    was_cut: bool
    """There was more output than the cap; git was stopped there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitProgram:
    """The git of this machine, in one folder, with settings that no repository can change."""

    folder: str
    environ: Mapping[str, str]
    """The user's: `HOME`, and a `PATH` from `search_path`."""
    as_user: bool = False
    """The user's and the machine's own settings count too; only for commands that run none of them."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Settings of this repository that name commands, and what they are instead."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Environment that one command needs more."""
    timeout_s: float = TIMEOUT_S

    def run(self, *arguments: str, stdin: bytes = b"", most: int | None = None, changes: bool = False) -> Finished:
        """Run one command to its end, or until `most` bytes of output have come (64 MiB); `changes`: it writes.

        Raises:
            ToolError: there is no git, it can't be started, or it took longer than `timeout_s`.
        """
        found = shutil.which("git", path=self.environ.get("PATH"))
        if found is None:
            raise ToolError("git: there is no git program on the PATH.")
        argv = [found, "--no-pager", *arguments]
        try:
            process = subprocess.Popen(  # noqa: S603 - a list, and no name in it can be an option by accident
                with_keeper(argv) if changes else argv,
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=changes,
            )
        except OSError as error:  # such as: more settings than a command can be given
            raise ToolError(f"git {arguments[0]} cannot be started: {error.strerror}.") from error
        with process:
            try:
                return _drained(process, stdin, MAX_OUTPUT_BYTES if most is None else most, self.timeout_s)
            except (TimeoutError, subprocess.TimeoutExpired) as error:
                raise ToolError(f"git {arguments[0]} took longer than {self.timeout_s:g} s and was stopped.") from error
            finally:
                _end(process)

    def checked(self, *arguments: str, stdin: bytes = b"", changes: bool = False) -> bytes:
        """The output of a command that should succeed, all of it.

        Raises:
            ToolError: it failed; says what git said.
        """
        done = self.run(*arguments, stdin=stdin, changes=changes)
        if done.was_cut:
            raise ToolError(f"git {arguments[0]} has more to say than {MAX_OUTPUT_BYTES:,} bytes: name fewer files.")
        if done.code:
            raise ToolError(complaint(f"git {arguments[0]}", done))
        return done.output

    def _environment(self) -> dict[str, str]:
        settings = {**SETTINGS, **self.overrides}
        env = {"HOME": _NOWHERE} | {name: self.environ[name] for name in _OF_USER if name in self.environ}
        env |= {**ENVIRONMENT, **({} if self.as_user else _NOBODYS), "GIT_CONFIG_COUNT": str(len(settings))}
        for number, (key, value) in enumerate(settings.items()):
            env[f"GIT_CONFIG_KEY_{number}"] = key
            env[f"GIT_CONFIG_VALUE_{number}"] = value
        return {**env, **self.extra}


def complaint(what: str, done: Finished) -> str:
    """Why a command failed, and what to do about it."""
    if lock := _LOCKED.search(done.said):
        return (
            f"{what} failed: {lock[1]} is there, so another git is at work on this repository. "
            "Try again; if none is at work, one was killed: remove that file."
        )
    return f"{what} failed: {done.said or f'it ended with {done.code}'}"


def search_path(environ: Mapping[str, str], roots: Iterable[Path] = ()) -> str:
    """Where programs are looked for: never relative to a folder, and never in one of `roots`, a stranger's."""
    entries = [entry for entry in environ.get("PATH", "").split(os.pathsep) if entry.startswith("/")]
    real = {entry: Path(os.path.realpath(entry)) for entry in entries}
    outside = [entry for entry in entries if not any(real[entry].is_relative_to(root) for root in roots)]
    return os.pathsep.join(outside) or os.defpath


def _drained(process: subprocess.Popen[bytes], stdin: bytes, most: int, timeout_s: float) -> Finished:
    """Write the input and read both outputs until they end."""
    deadline = time.monotonic() + timeout_s
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
                raise TimeoutError
            for key, _ in ready:
                if key.data is left:
                    left.write()
                else:
                    _read(key, selector)
            if len(output) > most:
                return Finished(code=0, output=bytes(output[:most]), said=_said(errors), was_cut=True)
    code = process.wait(max(0.1, deadline - time.monotonic()))
    return Finished(code=code, output=bytes(output), said=_said(errors), was_cut=False)


class _Input:
    """What is still to be written to a process."""

    def __init__(self, pipe: IO[bytes], content: bytes, selector: selectors.BaseSelector) -> None:
        self._pipe = pipe
        self._rest = memoryview(content)
        self._selector = selector
        os.set_blocking(pipe.fileno(), False)
        selector.register(pipe, selectors.EVENT_WRITE, self)

    def write(self) -> None:
        """Write as much as it takes now; at the end, close."""
        try:
            if self._rest:
                self._rest = self._rest[os.write(self._pipe.fileno(), self._rest[:_PIECE_BYTES]) :]
        except BrokenPipeError:
            self._rest = memoryview(b"")  # it reads no more; its exit code says why
        if not self._rest:
            self._selector.unregister(self._pipe)
            self._pipe.close()


def _read(key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
    piece = os.read(key.fd, _PIECE_BYTES)
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
    # Of what has no sign of its own, directions of writing could make a reader see another text.
    text = "".join(char if char.isprintable() or char == "\n" else "?" for char in _USER_OF_URL.sub("://", text))
    return text if len(text) <= _SAID_CHARS else f"{text[:_SAID_CHARS]}..."
