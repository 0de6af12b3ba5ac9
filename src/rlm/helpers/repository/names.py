"""Checks names that go to git: branches, remotes, commits. None begins with a dash, so that none can be an option."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown

if TYPE_CHECKING:
    from rlm.helpers.repository.program import GitProgram

_BRANCH = re.compile(r"(?![-./])[\w./+@#=-]{1,200}(?<![./])")
_REMOTE = re.compile(r"(?![-.])[\w.-]{1,100}")
_REVISION = re.compile(r"(?!-)[\w./+@#={}^~-]{1,250}")


def checked_branch(git: GitProgram, name: str) -> str:
    """Return the name of a branch.

    Raises:
        ToolError: git does not accept it.
    """
    if not _BRANCH.fullmatch(name) or name in ("HEAD", "@") or git.run("check-ref-format", f"refs/heads/{name}").code:
        raise ToolError(
            f"{shown(name)} can't name a branch: use letters, digits and ./_+@#=- ; no dash first, no '..'."
        )
    return name


def checked_remote(name: str) -> str:
    """Return the name of a remote, which is never a URL.

    Raises:
        ToolError: it can't be such a name.
    """
    if not _REMOTE.fullmatch(name):
        raise ToolError(f"{shown(name)} can't name a remote; only configured remotes can be pushed to, by name.")
    return name


def checked_revision(git: GitProgram, name: str) -> str:
    """The hash of the commit that is named, so that the name itself goes no further.

    Raises:
        ToolError: there is no such commit.
    """
    if _REVISION.fullmatch(name):
        done = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if done.code == 0:
            return done.output.decode("ascii", "replace").strip()
    raise ToolError(f"{shown(name)} names no commit here.")
