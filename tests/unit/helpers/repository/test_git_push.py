"""`git_push` over https and ssh, to servers on this machine; no password of an address or of the user's goes astray."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import git, open_helpers
from rlm.helpers.repository import program
from tests.support.git_https import PASSWORD, Server, serving
from tests.support.git_trees import Hostile, make_repository, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLE = """
from rlm.helpers import git

# Check status
status = git.git_status()
# Returns: {'files': {'modified': [...], 'untracked': [...]}}

# Stage and commit
git.git_add(['.'])
git.git_commit('feat: refactor authentication module')

# Create branch and push
git.create_branch('feature/new-auth', checkout=True)
git.git_push('origin', 'feature/new-auth')
"""


@pytest.fixture
def repository(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return make_repository(tree)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    with serving(folder) as up:
        monkeypatch.setitem(program.ENVIRONMENT, "GIT_SSL_CAINFO", str(up.certificate))
        yield up


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server behind an `ssh` that runs the command here; returns the file in which its arguments are kept."""
    run_git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    programs, said = tmp_path / "bin", tmp_path / "said"
    programs.mkdir()
    script = f'#!/bin/sh\necho "$@" > {said}\nfor last; do :; done\nunset $(git rev-parse --local-env-vars)\n'
    (programs / "ssh").write_text(script + 'eval "$last"\n')
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return said


def test_the_example_of_the_document(repository: Path, tmp_path: Path, ssh: Path) -> None:
    """Word by word, but for where the names come from."""
    run_git(repository, "remote", "add", "origin", f"host:{tmp_path}/remote.git")
    (repository / "a.txt").write_text("changed\n")
    (repository / "new.txt").write_text("new\n")
    names: dict[str, Any] = {}
    exec(EXAMPLE, names)
    assert names["status"]["files"]["modified"] == ["a.txt"]
    assert names["status"]["files"]["untracked"] == ["new.txt"]
    subject = run_git(tmp_path / "remote.git", "log", "-1", "--format=%s", "feature/new-auth")
    assert subject == "feat: refactor authentication module"
    assert git.current_branch() == "feature/new-auth"


def test_over_ssh_to_the_branch_of_the_same_name(repository: Path, tmp_path: Path, ssh: Path) -> None:
    run_git(repository, "remote", "add", "origin", f"ssh://someone:secret@host{tmp_path}/remote.git")
    assert git.git_push("origin", "main") == {
        "remote": "origin", "url": f"ssh://host{tmp_path}/remote.git", "branch": "main",
    }  # fmt: skip
    assert run_git(tmp_path / "remote.git", "rev-parse", "main") == run_git(repository, "rev-parse", "main")
    assert {"-oBatchMode=yes", "-oForwardAgent=no"} <= set(ssh.read_text().split())


def test_a_branch_that_has_moved_on_there_is_not_overwritten(repository: Path, tmp_path: Path, ssh: Path) -> None:
    run_git(repository, "remote", "add", "origin", f"host:{tmp_path}/remote.git")
    git.git_push("origin", "main")
    run_git(repository, "commit", "--quiet", "--amend", "-m", "other")
    with pytest.raises(ToolError, match=r"rejected"):
        git.git_push("origin")


def test_over_https_with_the_password_of_the_address(repository: Path, server: Server) -> None:
    run_git(repository, "remote", "add", "origin", f"https://someone:{PASSWORD}@{server.host}/remote.git")
    assert git.git_push("origin")["url"] == f"https://{server.host}/remote.git"
    assert run_git(server.repository, "rev-parse", "main") == run_git(repository, "rev-parse", "main")


def test_over_https_with_the_password_of_netrc(repository: Path, server: Server, tmp_path: Path) -> None:
    run_git(repository, "remote", "add", "origin", f"https://{server.host}/remote.git")
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login someone password {PASSWORD}\n")
    assert git.git_push("origin", "main")["branch"] == "main"


def test_a_password_is_in_no_complaint(repository: Path, server: Server) -> None:
    for number, where in enumerate((f"{server.host}/nowhere.git", "127.0.0.1:1/x", f"{server.host}/remote.git")):
        run_git(repository, "remote", "add", f"r{number}", f"https://someone:{PASSWORD}-not@{where}")
        with pytest.raises(ToolError, match="git push failed") as refused:
            git.git_push(f"r{number}", "main")
        assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize("key", ["credential.helper", "credential.https://127.0.0.1.helper", "core.askPass"])
def test_no_program_is_asked_for_a_password(repository: Path, server: Server, tmp_path: Path, key: str) -> None:
    trap = Hostile(folder=repository, canary=tmp_path / "canary")
    run_git(repository, "remote", "add", "origin", f"https://{server.host}/remote.git")
    trap.config(key, trap.script("program"))
    with pytest.raises(ToolError, match="git push failed"):
        git.git_push("origin", "main")
    assert not trap.canary.exists()


@pytest.mark.parametrize(
    "key", ["http.sslVerify", "http.https://127.0.0.1/.proxy", "http.cookieFile", "http.saveCookies", "http.sslCAInfo"]
)
def test_settings_that_lead_a_password_astray_stop_a_push(repository: Path, key: str) -> None:
    """The last but one has git write what the server says into a file of the repository's choice."""
    run_git(repository, "remote", "add", "origin", "https://127.0.0.1:1/x.git")
    run_git(repository, "config", key, "false")
    with pytest.raises(ToolError, match=r"own setting '(?i:http\.).* could lead your password elsewhere"):
        git.git_push("origin", "main")


def test_a_program_that_the_repository_names_for_a_remote_is_not_pushed_through(repository: Path) -> None:
    """As `https` it would speak https to an address that is ssh's, past the look at the settings for that."""
    run_git(repository, "remote", "add", "origin", "https:/example.org/x.git")
    run_git(repository, "config", "http.sslVerify", "false")
    run_git(repository, "config", "remote.origin.vcs", "https")
    with pytest.raises(ToolError, match=r"own setting 'remote\.origin\.vcs'"):
        git.git_push("origin", "main")


def test_a_header_as_continuous_integration_sets_it_is_no_such_setting(repository: Path, server: Server) -> None:
    run_git(repository, "remote", "add", "origin", f"https://someone:{PASSWORD}@{server.host}/remote.git")
    run_git(repository, "config", f"http.https://{server.host}/.extraheader", "X-One: 1")
    assert git.git_push("origin", "main")["branch"] == "main"


def test_only_https_and_ssh_are_pushed_to(repository: Path, tmp_path: Path) -> None:
    helper: Any = open_helpers(repository, rights=("push",)).git
    urls = (f"ext::{tmp_path}", "file:///x", "/x", "git://h/x", "http://h/x", "-x:y", "https://", "ssh:///x")
    for number, url in enumerate(urls):
        run_git(repository, "config", f"remote.r{number}.url", url)
        with pytest.raises(ToolError, match="is not pushed to|is no remote"):
            helper.git_push(f"r{number}", "main")
    with pytest.raises(ToolError, match="can't name a remote"):
        helper.git_push("https://h/x", "main")


def test_a_detached_head_has_no_branch_to_push(repository: Path) -> None:
    run_git(repository, "remote", "add", "origin", "ssh://host/x")
    run_git(repository, "checkout", "--quiet", "--detach")
    with pytest.raises(ToolError, match="HEAD is detached; name the branch"):
        git.git_push("origin")
