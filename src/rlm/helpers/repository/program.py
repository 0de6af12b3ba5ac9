"""Runs git so that it runs no program which a repository configures, with a deadline and a limit on its output.

Only argument lists are used, never a shell. The environment is built from scratch, and settings of the repository that
name commands are overridden by name; `settings` finds them. Only a push may use a transport. Commands that change a
repository run under a keeper: however the caller ends, git is told to end, and removes its lock files.
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
"""How many seconds git gets to end; longer than what the keeper gives it."""
_SAID_CHARS = 600
_PIECE_BYTES = 1 << 16
_NO_FILES = "did not match any file"
"""What git says of a path that it doesn't know."""

_NOWHERE = os.devnull
_FALSE = "false"
"""A boolean to git; where git expects a program, the command `false`, which fails."""

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
"""The settings of every command, which override those of the repository."""

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
    """The result of a command that has ended."""

    code: int
    output: bytes
    said: str
    """The standard error: shortened, with "?" for invisible characters, without users and passwords in URLs."""
    was_cut: bool
    """Whether the output reached its limit, where git was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitProgram:
    """The git of this machine, in one folder, with settings that no repository can change."""

    folder: str
    environ: Mapping[str, str]
    """The user's `HOME`, and a `PATH` from `search_path`."""
    as_user: bool = False
    """Whether the user's and the machine's settings apply too; only for commands that run no programs from them."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """The settings of this repository that name commands, with the values that replace them."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further environment variables for one command."""
    timeout_s: float = TIMEOUT_S

    def run(self, *arguments: str, stdin: bytes = b"", most: int | None = None, changes: bool = False) -> Finished:
        """Run a command to its end, or until it has written `most` bytes (64 MiB if None).

        `changes` says that it changes the repository.

        Raises:
            ToolError: git is not installed, can't be started, or took longer than `timeout_s`.
        """
        found = shutil.which("git", path=self.environ.get("PATH"))
        if found is None:
            raise ToolError("git: no git program was found on the PATH.")
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
        except OSError as error:  # such as more settings than a command line can have
            raise ToolError(f"git {arguments[0]} cannot be started: {error.strerror}.") from error
        with process:
            try:
                return _drained(process, stdin, MAX_OUTPUT_BYTES if most is None else most, self.timeout_s)
            except (TimeoutError, subprocess.TimeoutExpired) as error:
                raise ToolError(f"git {arguments[0]} took longer than {self.timeout_s:g} s and was stopped.") from error
            finally:
                _end(process)

    def checked(self, *arguments: str, stdin: bytes = b"", changes: bool = False) -> bytes:
        """The whole output of a command that should succeed.

        Raises:
            ToolError: the command failed; the message has git's words.
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
    """The message for a command that failed: why, and what to do about it."""
    if lock := _LOCKED.search(done.said):
        return (
            f"{what} failed: {lock[1]} is there, so another git is at work on this repository. "
            "Try again; if none is at work, one was killed: remove that file."
        )
    hint = " (files are named from the top of the repository, as by git_status)" if _NO_FILES in done.said else ""
    return f"{what} failed: {done.said or f'it ended with {done.code}'}{hint}"


def search_path(environ: Mapping[str, str], roots: Iterable[Path] = ()) -> str:
    """The PATH for programs: without relative folders, and without anything in `roots`, which may be hostile."""
    entries = [entry for entry in environ.get("PATH", "").split(os.pathsep) if entry.startswith("/")]
    real = {entry: Path(os.path.realpath(entry)) for entry in entries}
    outside = [entry for entry in entries if not any(real[entry].is_relative_to(root) for root in roots)]
    return os.pathsep.join(outside) or os.defpath


def _drained(process: subprocess.Popen[bytes], stdin: bytes, most: int, timeout_s: float) -> Finished:
    """Write the input of a process and read both its outputs until they end."""
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
    """The input that is still to be written to a process."""

    def __init__(self, pipe: IO[bytes], content: bytes, selector: selectors.BaseSelector) -> None:
        self._pipe = pipe
        self._rest = memoryview(content)
        self._selector = selector
        os.set_blocking(pipe.fileno(), False)
        selector.register(pipe, selectors.EVENT_WRITE, self)

    def write(self) -> None:
        """Write as much as the pipe takes now, and close it at the end."""
        try:
            if self._rest:
                self._rest = self._rest[os.write(self._pipe.fileno(), self._rest[:_PIECE_BYTES]) :]
        except BrokenPipeError:
            self._rest = memoryview(b"")  # git no longer reads; its exit code says why
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
    # Invisible characters go too: marks of writing direction could make a reader see another text.
    text = "".join(char if char.isprintable() or char == "\n" else "?" for char in _USER_OF_URL.sub("://", text))
    return text if len(text) <= _SAID_CHARS else f"{text[:_SAID_CHARS]}..."
