"""`git.git_add`, `git_commit`, `create_branch`: changes to a repository that run no hook, filter or signer.

A file that a filter would have to convert (such as git-lfs) is refused rather than added as it is.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.changes import WAITING
from rlm.helpers.operation import helper
from rlm.helpers.repository.names import checked_branch
from rlm.helpers.repository.opening import open_repository
from rlm.helpers.repository.passed_by import COMMIT_HOOKS, passed_by
from rlm.helpers.repository.status import read_status, readable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.core.types import Json
    from rlm.helpers.repository.opening import Repository
    from rlm.helpers.repository.program import GitProgram
    from rlm.helpers.workspace import Workspace

MAX_MESSAGE_CHARS = 20_000
_NAMED = 100


@helper("git.git_add", right="git")
def git_add(work: Workspace, files: list[str], path: str = ".") -> Json:
    """Stage files and folders, removals too; "." is all.

    Args:
        files: What to stage, as git_status names it.
        path: A folder of the repository.
    """
    repository = open_repository(work, path)
    names = repository.paths(files)
    if not names:
        raise ToolError("git.git_add: name what to stage; ['.'] is all.")
    changed = [*read_status(repository, names).paths]
    _refuse_left_over(changed)
    _refuse_filtered(repository, changed)
    repository.git.checked("add", "--all", "--", *names, changes=True)
    staged = read_status(repository).staged
    return {"staged": len(staged), "files": [*map(readable, staged[:_NAMED])]}


@helper("git.git_commit", right="git")
def git_commit(work: Workspace, message: str, path: str = ".") -> Json:
    """Commit what is staged, unsigned and without hooks; what was passed by is named.

    Args:
        message: The message, its first line the subject.
        path: A folder of the repository.
    """
    repository = open_repository(work, path)
    repository.require_calm("git.git_commit")
    if not message.strip() or len(message) > MAX_MESSAGE_CHARS or "\0" in message:
        raise ToolError(f"git.git_commit: a message of 1 to {MAX_MESSAGE_CHARS:,} characters is needed.")
    if not read_status(repository).staged:
        raise ToolError("git.git_commit: nothing is staged; call git.git_add first.")
    git = _with_author(repository)
    asked = ("commit", "--quiet", "--no-verify", "--no-gpg-sign", "--cleanup=verbatim", "--no-status", "--file=-")
    git.checked(*asked, stdin=message.encode("utf-8", "replace"), changes=True)
    made = git.checked("log", "-1", "--no-show-signature", "--format=%H%x00%s", "HEAD")
    commit, _, subject = made.decode("utf-8", "replace").strip().partition("\0")
    counts = git.checked("diff-tree", "--root", "--no-commit-id", "--name-only", "-r", "-z", "HEAD")
    facts: dict[str, Json] = {"commit": commit, "subject": subject[:200], "files": counts.count(b"\0")}
    return facts | passed_by(repository, COMMIT_HOOKS, "commit.gpgsign")


@helper("git.create_branch", right="git")
def create_branch(work: Workspace, name: str, checkout: bool = True, path: str = ".") -> Json:
    """Make a branch at the current commit, and go on to it; files stay as they are.

    Args:
        name: The new branch.
        checkout: Whether to go on to it.
        path: A folder of the repository.
    """
    repository = open_repository(work, path)
    git = repository.git
    branch = f"refs/heads/{checked_branch(git, name)}"
    if git.run("show-ref", "--verify", "--quiet", branch).code == 0:
        raise ToolError(f"there is a branch {shown(name)} already.")
    if checkout:
        repository.require_calm("git.create_branch")
    commit = git.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if commit.code and not checkout:
        raise ToolError("there is no commit yet that a branch could begin at.")
    if commit.code == 0:
        git.checked("branch", "--no-track", "--", name, commit.output.decode().strip(), changes=True)
    if checkout:  # only HEAD moves: a checkout would run filters over files
        git.checked("symbolic-ref", "-m", f"checkout: moving to {name}", "HEAD", branch, changes=True)
    return {"branch": name, "checked_out": checkout}


def _with_author(repository: Repository) -> GitProgram:
    """Git with the user's name as author and committer.

    Raises:
        ToolError: the user has configured no name.
    """
    name, email = (repository.settings.value(f"user.{each}") for each in ("name", "email"))
    if not name or not email:
        raise ToolError(
            "git.git_commit: git does not know who you are: set user.name and user.email (git config --global ...)."
        )
    who = {f"GIT_{role}_NAME": name for role in ("AUTHOR", "COMMITTER")}
    who |= {f"GIT_{role}_EMAIL": email for role in ("AUTHOR", "COMMITTER")}
    return replace(repository.git, extra={**repository.git.extra, **who})


def _refuse_left_over(paths: Iterable[str]) -> None:
    """Check that no file is what an edit has left that nobody here can roll back, such as one of another user.

    Raises:
        ToolError: one is, and others may be half edited.
    """
    left = [path for path in paths if WAITING.fullmatch(path.rpartition("/")[2])]
    if left:
        raise ToolError(
            f"{shown(readable(left[0]))} was left by an edit that is being made, or was cut off, by somebody else: "
            f"files may be half edited. Look at them, and remove what was left ({len(left):,} such files). "
            "Nothing was staged."
        )


def _refuse_filtered(repository: Repository, paths: Iterable[str]) -> None:
    """Check that files go into the repository unchanged.

    Raises:
        ToolError: a program would have to convert one of them.
    """
    given = b"".join(os.fsencode(path) + b"\0" for path in paths)
    if not given:
        return
    fields = repository.git.checked("check-attr", "-z", "--stdin", "filter", stdin=given).split(b"\0")
    for path, value in zip(fields[::3], fields[2::3], strict=False):
        if value not in (b"unspecified", b"unset"):
            raise ToolError(
                f"{shown(os.fsdecode(path))} goes through the filter {shown(os.fsdecode(value))}, "
                "which is a program and not run here: add it yourself. Nothing was staged."
            )
