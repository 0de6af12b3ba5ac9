"""`git.git_push`: one branch to one configured remote, over https or ssh alone, never by force."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.operation import helper
from rlm.helpers.repository.names import checked_branch, checked_remote
from rlm.helpers.repository.opening import open_repository
from rlm.helpers.repository.passed_by import PUSH_HOOKS, passed_by

if TYPE_CHECKING:
    from rlm.core.types import Json
    from rlm.helpers.repository.opening import Repository
    from rlm.helpers.workspace import Workspace

_URL = re.compile(r"(?P<scheme>https|ssh)://(?:[^@/\s]*@)?(?P<host>[A-Za-z0-9\[][\w.:\]-]*)/(?P<path>\S*)")
_SCP = re.compile(r"(?:[\w.-]+@)?(?P<host>[A-Za-z0-9][\w.-]*):(?P<path>[^-\s]\S*)")
_SSH = "-oBatchMode=yes -oPermitLocalCommand=no -oClearAllForwardings=yes -oForwardAgent=no -oForwardX11=no"
_TIMEOUT_S = 600.0


@helper("git.git_push", right="push")
def git_push(work: Workspace, remote: str, branch: str | None = None, path: str = ".") -> Json:
    """Push a branch to the branch of the same name of a configured remote; no force, no tags, no credential helpers.

    Args:
        remote: The name of the remote, such as origin.
        branch: The branch; none: the current one.
        path: A folder of the repository.
    """
    repository = open_repository(work, path)
    url = _destination(repository, checked_remote(remote))
    name = checked_branch(repository.git, branch or _current(repository))
    agent = work.environ.get("SSH_AUTH_SOCK")
    ssh = shutil.which("ssh", path=repository.git.environ["PATH"])
    extra = {
        **repository.git.extra,
        "GIT_ALLOW_PROTOCOL": "https:ssh",
        "GIT_SSH_COMMAND": f"{shlex.quote(ssh)} {_SSH}" if ssh else "false",
        **({"SSH_AUTH_SOCK": agent} if agent else {}),
    }
    allowed = {"protocol.allow": "user", "protocol.https.allow": "always", "protocol.ssh.allow": "always"}
    git = replace(repository.git, extra=extra, overrides={**repository.git.overrides, **allowed}, timeout_s=_TIMEOUT_S)
    asked = ("push", "--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no")
    refspec = f"refs/heads/{name}:refs/heads/{name}"
    git.checked(*asked, "--receive-pack=git-receive-pack", "--", remote, refspec, changes=True)
    facts: dict[str, Json] = {"remote": remote, "url": url, "branch": name}
    return facts | passed_by(repository, PUSH_HOOKS, "push.gpgsign")


def _current(repository: Repository) -> str:
    done = repository.git.run("symbolic-ref", "--quiet", "--short", "HEAD")
    if done.code:
        raise ToolError("git.git_push: HEAD is detached; name the branch.")
    return done.output.decode("utf-8", "replace").strip()


def _destination(repository: Repository, remote: str) -> str:
    """The address that a push to the remote goes to, without secrets in it.

    Raises:
        ToolError: there is no such remote, or it is not reached by https or ssh.
    """
    done = repository.git.run("remote", "get-url", "--push", "--all", "--", remote)
    urls = done.output.decode("utf-8", "replace").splitlines()
    if done.code or len(urls) != 1:
        raise ToolError(f"{shown(remote)} is not a remote of this repository with exactly one address to push to.")
    repository.settings.require_no_program(remote)
    if found := _URL.fullmatch(urls[0]):
        if found["scheme"] == "https":
            repository.settings.require_plain_web()
        return f"{found['scheme']}://{found['host']}/{re.split('[?#]', found['path'])[0]}"
    if "://" not in urls[0] and "::" not in urls[0] and (found := _SCP.fullmatch(urls[0])):
        return f"{found['host']}:{found['path']}"
    raise ToolError(f"the remote {shown(remote)} is not reached by https or ssh: it is not pushed to.")
