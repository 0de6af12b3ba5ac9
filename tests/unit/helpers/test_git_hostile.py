"""A hostile repository runs nothing: each way in which git runs what a repository names, with a canary."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import git_run, open_helpers
from tests.support.git_trees import Hostile, make_repository, run_git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOOKS = (
    "pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "post-checkout", "reference-transaction",
    "post-index-change", "pre-push", "pre-auto-gc", "fsmonitor-watchman", "post-rewrite",
)  # fmt: skip


def _hooks(trap: Hostile) -> None:
    for name in HOOKS:
        trap.hook(name)


def _hooks_path(trap: Hostile) -> None:
    _hooks(trap)
    trap.config("core.hooksPath", str(trap.folder / ".git" / "hooks"))


def _included(trap: Hostile) -> None:
    (trap.folder.parent / "more.config").write_text(f'[filter "inc"]\n  clean = {trap.script("inc")}\n')
    trap.config("include.path", str(trap.folder.parent / "more.config"))
    trap.attributes("* filter=inc")


def _filter(kind: str, name: str = "evil") -> Callable[[Hostile], None]:
    def lay(trap: Hostile) -> None:
        trap.config(f"filter.{name}.{kind}", trap.script("filter", "true" if kind == "process" else "cat"))
        trap.config(f"filter.{name}.required", "true")
        (trap.folder / ".gitattributes").write_text(f"* filter={name}\n")

    return lay


def _setting(key: str, attribute: str = "") -> Callable[[Hostile], None]:
    def lay(trap: Hostile) -> None:
        trap.config(key, trap.script("program"))
        if attribute:
            trap.attributes(attribute)

    return lay


def _signing(trap: Hostile) -> None:
    for key in ("commit.gpgSign", "log.showSignature", "push.gpgSign"):
        trap.config(key, "true")
    trap.config("gpg.program", trap.script("gpg"))


def _ssh_signing(trap: Hostile) -> None:
    _signing(trap)
    trap.config("gpg.format", "ssh")
    trap.config("gpg.ssh.program", trap.script("sshsign"))
    trap.config("gpg.ssh.defaultKeyCommand", trap.script("keys"))


def _lazy_fetch(trap: Hostile) -> None:
    """A partial clone that lacks an object: git would fetch it, over a program of the repository's choice."""
    trap.config("remote.origin.url", str(trap.folder))
    trap.config("remote.origin.promisor", "true")
    trap.config("remote.origin.uploadpack", trap.script("upload", "exit 1"))
    trap.config("extensions.partialClone", "origin")
    trap.config("core.repositoryFormatVersion", "1")
    blob = run_git(trap.folder, "rev-parse", "HEAD:a.txt")
    (trap.folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()


def _lazy_fetch_ext(trap: Hostile) -> None:
    _lazy_fetch(trap)
    trap.config("remote.origin.url", f"ext::{trap.script('ext')}")
    trap.config("protocol.ext.allow", "always")


def _submodule(trap: Hostile) -> None:
    inner = make_repository(trap.folder / "inner")
    inside = Hostile(folder=inner, canary=trap.canary)
    run_git(inner, "config", "core.fsmonitor", inside.script("monitor"))
    run_git(trap.folder, "-c", "advice.addEmbeddedRepo=false", "add", "inner")
    (inner / "a.txt").write_text("changed\n")


def _aliases(trap: Hostile) -> None:
    for name in ("status", "diff", "log", "commit", "add", "branch", "push"):
        trap.config(f"alias.{name}", f"!{trap.script('alias')}")


TRAPS: dict[str, Callable[[Hostile], None]] = {
    "hooks": _hooks,
    "hooks path": _hooks_path,
    "included filter": _included,
    "clean": _filter("clean"),
    "smudge": _filter("smudge"),
    "process": _filter("process"),
    "lfs by name": _filter("process", "lfs"),
    "odd name of a filter": _filter("clean", "a=b.c"),
    "fsmonitor": _setting("core.fsmonitor"),
    "textconv": _setting("diff.evil.textconv", "* diff=evil"),
    "diff command": _setting("diff.evil.command", "* diff=evil"),
    "external diff": _setting("diff.external"),
    "merge driver": _setting("merge.evil.driver", "* merge=evil"),
    "pager": _setting("core.pager"),
    "pager of a command": _setting("pager.log"),
    "editor": _setting("core.editor"),
    "sequence editor": _setting("sequence.editor"),
    "askpass": _setting("core.askPass"),
    "credential helper": _setting("credential.helper"),
    "ssh command": _setting("core.sshCommand"),
    "git proxy": _setting("core.gitProxy"),
    "alternate refs": _setting("core.alternateRefsCommand"),
    "config hook": _setting("hook.evil.command"),
    "trailer": _setting("trailer.sign.command"),
    "signing": _signing,
    "ssh signing": _ssh_signing,
    "lazy fetch": _lazy_fetch,
    "lazy fetch over ext": _lazy_fetch_ext,
    "submodule": _submodule,
    "aliases": _aliases,
}


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hostile:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return Hostile(folder=make_repository(tmp_path / "repo"), canary=tmp_path / "canary")


def everything(folder: Path) -> list[str]:
    """Call every operation; what fails says so."""
    git: Any = open_helpers(folder, rights=("read", "write", "git", "push")).git
    (folder / "a.txt").write_text("one\ntwo\nthree\n")
    (folder / "new.txt").write_text("new\n")
    calls: list[Callable[[], Any]] = [
        git.git_status,
        git.diff,
        lambda: git.diff(base="HEAD~1"),
        git.log,
        lambda: git.log(paths=["a.txt"]),
        lambda: git.blame("a.txt"),
        git.current_branch,
        lambda: git.git_add(["new.txt"]),
        lambda: git.git_add(["."]),
        lambda: git.git_commit("more"),
        lambda: git.create_branch("other"),
        lambda: git.git_push("origin", "main"),
    ]
    refused = []
    for call in calls:
        try:
            call()
        except ToolError as error:
            refused.append(str(error))
    return refused


@pytest.mark.parametrize("name", TRAPS)
def test_nothing_of_a_hostile_repository_runs(trap: Hostile, name: str) -> None:
    TRAPS[name](trap)
    trap.canary.unlink(missing_ok=True)  # setting the trap may have sprung it
    everything(trap.folder)
    assert not trap.canary.exists()


SPRUNG = {
    "hooks": ("commit", "--quiet", "--allow-empty", "-m", "x"),
    "clean": ("add", "a.txt"),
    "process": ("add", "a.txt"),
    "included filter": ("add", "a.txt"),
    "odd name of a filter": ("add", "a.txt"),
    "fsmonitor": ("status",),
    "textconv": ("diff", "HEAD~1"),
    "diff command": ("diff", "HEAD~1"),
    "external diff": ("diff", "HEAD~1"),
    "signing": ("commit", "--quiet", "--allow-empty", "-m", "x"),
    "lazy fetch": ("diff", "HEAD~1", "HEAD"),
    "submodule": ("status",),
}


@pytest.mark.parametrize("name", SPRUNG)
def test_the_traps_are_real(trap: Hostile, name: str) -> None:
    """Plain git falls into them; otherwise the test above would show nothing."""
    TRAPS[name](trap)
    trap.canary.unlink(missing_ok=True)
    (trap.folder / "a.txt").write_text("changed\n")
    with suppress(Exception):
        run_git(trap.folder, *SPRUNG[name])
    assert trap.canary.exists()


def test_variables_of_the_environment_run_nothing(trap: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_EDITOR", "GIT_SSH_COMMAND", "GIT_PROXY_COMMAND", "PAGER"):
        monkeypatch.setenv(name, trap.script("program"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.fsmonitor'='{trap.script('monitor')}'")
    assert len(everything(trap.folder)) == 1  # no remote to push to
    assert not trap.canary.exists()


def test_a_remote_helper_and_a_local_remote_are_not_pushed_to(trap: Hostile) -> None:
    git: Any = open_helpers(trap.folder, rights=("push",)).git
    for number, url in enumerate((f"ext::{trap.script('ext')}", "file:///x", "/x", "git://h/x", "http://h/x", "-x:y")):
        run_git(trap.folder, "config", f"remote.r{number}.url", url)
        with pytest.raises(ToolError, match="is not pushed to|is no remote"):
            git.git_push(f"r{number}", "main")
    assert not trap.canary.exists()


@pytest.mark.parametrize("name", ["--upload-pack=touch x", "-f", "a..b", "a b", "HEAD", "x.lock", "@{-1}", "a\nb", ""])
def test_a_name_that_could_be_an_option_is_refused(trap: Hostile, name: str) -> None:
    git: Any = open_helpers(trap.folder, rights=("git", "push")).git
    with pytest.raises(ToolError, match="no name for a branch"):
        git.create_branch(name)


@pytest.mark.parametrize("name", ["--output=x", "-p", "main --", "$(touch x)", "HEAD:a.txt"])
def test_a_revision_that_could_be_an_option_is_refused(trap: Hostile, name: str) -> None:
    git: Any = open_helpers(trap.folder).git
    with pytest.raises(ToolError, match="names no commit"):
        git.log(base=name)


def test_a_file_named_like_an_option_is_a_file(trap: Hostile) -> None:
    (trap.folder / "--force").write_text("x")
    git: Any = open_helpers(trap.folder, rights=("git",)).git
    assert git.git_add(["--force"])["files"] == ["--force"]


def test_a_repository_outside_of_the_workspace_is_refused(trap: Hostile, tmp_path: Path) -> None:
    inside = tmp_path / "work"
    inside.mkdir()
    (inside / ".git").write_text(f"gitdir: {trap.folder / '.git'}\n")
    with pytest.raises(ToolError, match="leads elsewhere|outside of the workspace"):
        open_helpers(inside).git.git_status()


def test_a_working_tree_elsewhere_is_refused(trap: Hostile, tmp_path: Path) -> None:
    run_git(trap.folder, "config", "core.worktree", str(tmp_path))
    with pytest.raises(ToolError, match="leads elsewhere"):
        open_helpers(trap.folder).git.git_status()


def test_borrowed_objects_are_refused(trap: Hostile, tmp_path: Path) -> None:
    other = make_repository(tmp_path / "other")
    (trap.folder / ".git" / "objects" / "info").mkdir(exist_ok=True)
    (trap.folder / ".git" / "objects" / "info" / "alternates").write_text(f"{other / '.git' / 'objects'}\n")
    with pytest.raises(ToolError, match="outside of the workspace"):
        open_helpers(trap.folder).git.git_status()


def test_a_filtered_file_is_not_added_as_it_is(trap: Hostile) -> None:
    (trap.folder / ".gitattributes").write_text("*.bin filter=lfs\n")
    (trap.folder / "x.bin").write_text("large")
    git: Any = open_helpers(trap.folder, rights=("git",)).git
    with pytest.raises(ToolError, match="filter 'lfs'"):
        git.git_add(["."])
    assert run_git(trap.folder, "diff", "--cached", "--name-only") == ""


def test_somebody_elses_repository_is_not_trusted(trap: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(git_run.ENVIRONMENT, "GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(ToolError, match="does not trust"):
        open_helpers(trap.folder).git.git_status()
    home = trap.folder.parent / "home"
    (home / ".gitconfig").write_text(f"[safe]\n  directory = {trap.folder}\n")
    assert open_helpers(trap.folder).git.current_branch() == "main"
