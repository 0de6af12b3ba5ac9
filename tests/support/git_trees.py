"""Repositories for the tests of `git`: an ordinary one, and ones that try to run a program, which leaves a canary."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ENVIRON = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "TERM": "xterm",
}
_CREDENTIAL = b"protocol=https\nhost=example.org\n\n"


def run_git(folder: Path, *arguments: str) -> str:
    """Plain git, as a user would run it."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=ENVIRON, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


def spring(folder: Path, *arguments: str) -> None:
    """Plain git on a terminal, as a user would run it, however it ends."""
    terminal, screen = pty.openpty()
    try:
        subprocess.run(
            ["git", *arguments], cwd=folder, env=ENVIRON, check=False, input=_CREDENTIAL, stdout=screen,
            stderr=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
    finally:
        os.close(screen)
        os.close(terminal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """A repository with a trap."""

    folder: Path
    canary: Path

    def script(self, name: str, body: str = "cat") -> str:
        """A program that leaves the canary when it is run."""
        path = self.folder.parent / name
        path.write_text(f"#!/bin/sh\ntouch '{self.canary}'\n{body}\n")
        path.chmod(0o755)
        return str(path)

    def config(self, key: str, value: str) -> None:
        run_git(self.folder, "config", "--add", key, value)

    def attributes(self, line: str) -> None:
        (self.folder / ".git" / "info").mkdir(exist_ok=True)
        (self.folder / ".git" / "info" / "attributes").write_text(line + "\n")

    def hook(self, name: str) -> None:
        hooks = self.folder / ".git" / "hooks"
        hooks.mkdir(exist_ok=True)
        path = hooks / name
        path.write_text(f"#!/bin/sh\ntouch '{self.canary}'\n")
        path.chmod(0o755)


def make_repository(folder: Path) -> Path:
    """A repository with two commits: a copy of the one that this process made first."""
    shutil.copytree(_two_commits().name, folder, dirs_exist_ok=True)
    run_git(folder, "update-index", "--refresh")  # to git a copied file may have changed
    return folder


@cache
def _two_commits() -> TemporaryDirectory[str]:
    made = TemporaryDirectory(prefix="rlm-tests-git-")
    folder = Path(made.name)
    run_git(folder, "init", "--quiet", "--initial-branch=main", ".")
    run_git(folder, "config", "user.name", "Someone")
    run_git(folder, "config", "user.email", "someone@example.org")
    for text in ("one\n", "one\ntwo\n"):
        (folder / "a.txt").write_text(text)
        run_git(folder, "add", ".")
        run_git(folder, "commit", "--quiet", "-m", f"{len(text.splitlines())} lines")
    return made
