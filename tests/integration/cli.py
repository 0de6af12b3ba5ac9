"""What the tests of the command line share: a user's place, and `rlm` run in it.

A run is a process, forked of an interpreter that has loaded `rlm` or, where that is the point, started anew.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.trajectory.places import log_folder
from tests.support.fork_server import RLM

if TYPE_CHECKING:
    from tests.support.fork_server import ForkServer

CHOSE = "no sandbox is set: using local (choose another with --environment)\n"
"""What is said where no sandbox is named, before anything else of the run."""


class User:
    """A home, a working directory, and no settings but those given."""

    def __init__(self, root: Path, fork_server: ForkServer | None = None) -> None:
        self._fork_server = fork_server
        self.home, self.cwd = root / "home", root / "project"
        self.home.mkdir()
        self.cwd.mkdir()
        self.started: list[subprocess.Popen[str]] = []
        self.environ = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

    @property
    def logs(self) -> Path:
        """Where the records of the working directory's runs go."""
        return log_folder(None, self.cwd, self.environ)

    def write(self, name: str, text: str) -> Path:
        path = self.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def script(self, *replies: str) -> str:
        """The name of a model that gives these replies; what is in fences is run."""
        return f"scripted/{self.write('replies.json', json.dumps(replies))}"

    def rlm(self, *arguments: str, stdin: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `rlm` to its end, forked where there is a fork server; without `stdin` it gets none."""
        if self._fork_server is None:
            return self.process(*arguments, stdin=stdin, **environ)
        env = {**self.environ, **environ}
        return self._fork_server.run(arguments, cwd=self.cwd, environ=env, stdin=stdin)

    def process(self, *arguments: str, stdin: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `rlm` to its end in an interpreter of its own, as a user does: it loads what it needs, and no more."""
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        env = {**self.environ, **environ}
        return subprocess.run([RLM, *arguments], cwd=self.cwd, env=env, capture_output=True, text=True, **given)

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
        """Start `rlm`, with pipes where nothing else is given."""
        pipes: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **streams,
        }
        process = subprocess.Popen([RLM, *arguments], cwd=self.cwd, env=self.environ, text=True, **pipes)
        self.started.append(process)
        return process

    def __enter__(self) -> User:
        return self

    def __exit__(self, *_exc: object) -> None:
        for process in self.started:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def fenced(code: str) -> str:
    """A reply that has this code run."""
    return f"```repl\n{code}\n```"


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read stderr until a line has `text`."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if text in line:
            return
    raise AssertionError("".join(seen))
