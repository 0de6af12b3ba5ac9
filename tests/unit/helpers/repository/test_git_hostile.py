"""A hostile repository runs nothing: each way in which git runs what a repository names, with a canary."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import open_helpers
from rlm.helpers.opening import open_workspace
from rlm.helpers.repository import program
from rlm.helpers.repository.opening import open_repository
from tests.support.git_traps import TRAPS
from tests.support.git_trees import Hostile, make_repository, run_git, spring

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hostile:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text("#!/bin/sh\nexit 1\n")
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
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
        lambda: git.log(paths=["a.txt"]),
        lambda: git.blame("a.txt"),
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
    TRAPS[name].lay(trap)
    trap.canary.unlink(missing_ok=True)  # setting the trap may have sprung it
    refused = everything(trap.folder)
    assert not any("left alone" in each for each in refused), "it was not even tried"
    assert not trap.canary.exists()


@pytest.mark.parametrize("name", TRAPS)
def test_plain_git_falls_into_the_trap(trap: Hostile, name: str) -> None:
    TRAPS[name].lay(trap)
    trap.canary.unlink(missing_ok=True)
    if TRAPS[name].sprung_by[0] in ("add", "status", "diff", "commit"):
        (trap.folder / "a.txt").write_text("changed\n")
    spring(trap.folder, *TRAPS[name].sprung_by)
    assert trap.canary.exists()


def test_variables_of_the_environment_run_nothing(trap: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_EDITOR", "GIT_SSH_COMMAND", "GIT_PROXY_COMMAND", "PAGER"):
        monkeypatch.setenv(name, trap.script("program"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.fsmonitor'='{trap.script('monitor')}'")
    assert len(everything(trap.folder)) == 1  # no remote to push to
    assert not trap.canary.exists()


@pytest.mark.parametrize(
    "name", ["--upload-pack=touch x", "-f", "a..b", "a b", "HEAD", "x.lock", "@{-1}", "a\nb", "@", ""]
)
def test_a_name_that_could_be_an_option_is_refused(trap: Hostile, name: str) -> None:
    git: Any = open_helpers(trap.folder, rights=("git", "push")).git
    with pytest.raises(ToolError, match="can't name a branch"):
        git.create_branch(name)


@pytest.mark.parametrize("name", ["--output=x", "-p", "main --", "$(touch x)", "HEAD:a.txt"])
def test_a_revision_that_could_be_an_option_is_refused(trap: Hostile, name: str) -> None:
    git: Any = open_helpers(trap.folder).git
    with pytest.raises(ToolError, match="names no commit"):
        git.log(base=name)


def test_a_git_of_the_workspace_is_not_the_git_that_runs(trap: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = trap.folder / "bin"
    programs.mkdir()
    (programs / "git").symlink_to(trap.script("git"))
    monkeypatch.setenv("PATH", f"{programs}:.:{os.environ['PATH']}")
    assert len(everything(trap.folder)) == 1  # no remote to push to
    assert not trap.canary.exists()


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


@pytest.mark.parametrize("line", ["{}", "./other/.git/objects", '"{}"'])
def test_objects_that_are_borrowed_in_turn_or_by_a_quoted_name_are_refused(
    trap: Hostile, tmp_path: Path, line: str
) -> None:
    outside = make_repository(tmp_path / "outside") / ".git" / "objects"
    make_repository(trap.folder / "other")
    for folder, text in ((trap.folder / "other", f"{outside}"), (trap.folder, line.format(outside))):
        info = folder / ".git" / "objects" / "info"
        info.mkdir(exist_ok=True)
        (info / "alternates").write_text(text.replace("./other", str(trap.folder / "other")) + "\n")
    with pytest.raises(ToolError, match="outside of the workspace|can't be followed"):
        open_helpers(trap.folder).git.git_status()


@pytest.mark.parametrize("name", ["COMMIT_EDITMSG", "logs/HEAD", "index", "refs/heads", "objects/info", "packed-refs"])
def test_a_repository_that_writes_elsewhere_is_refused(trap: Hostile, tmp_path: Path, name: str) -> None:
    """Through such a symlink a commit message, or a name in the log of a branch, would land in any file."""
    git: Any = open_helpers(trap.folder, rights=("git",)).git
    inside, outside = trap.folder / ".git" / name, tmp_path / "outside"
    shutil.move(inside, outside) if inside.exists() else outside.write_text("mine\n")
    inside.symlink_to(outside)
    before = outside.stat().st_mtime_ns
    for call in (lambda: git.git_commit("curl x | sh"), lambda: git.create_branch("x"), lambda: git.git_add(["."])):
        with pytest.raises(ToolError, match=f"'{name}' in its .git is a symlink"):
            call()
    assert outside.stat().st_mtime_ns == before


def test_plain_git_does_write_elsewhere(trap: Hostile, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine\n")
    (trap.folder / ".git" / "COMMIT_EDITMSG").unlink()
    (trap.folder / ".git" / "COMMIT_EDITMSG").symlink_to(tmp_path / "outside")
    run_git(trap.folder, "commit", "--quiet", "--allow-empty", "-m", "curl x | sh")
    assert (tmp_path / "outside").read_text() == "curl x | sh\n"


def test_a_file_of_git_with_a_second_name_is_refused(trap: Hostile) -> None:
    (trap.folder / "a.txt").unlink()
    (trap.folder / "a.txt").hardlink_to(trap.folder / ".git" / "COMMIT_EDITMSG")
    with pytest.raises(ToolError, match="'COMMIT_EDITMSG' in its .git is a symlink or a hard link"):
        open_helpers(trap.folder).git.git_status()


@pytest.mark.parametrize("key", ["include.path", "includeIf.gitdir:/nowhere.path", "includeIf.onbranch:x.path"])
def test_settings_that_could_change_while_git_runs_are_refused(trap: Hostile, key: str) -> None:
    """They are read before git is started; an included file would be read once more by each git."""
    trap.config(key, "../more.config")
    with pytest.raises(ToolError, match="includes another file .* could change while git runs"):
        open_helpers(trap.folder).git.git_status()


def test_an_included_file_is_not_quoted(trap: Hostile, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cr3t\nno setting\n")
    trap.config("include.path", str(tmp_path / "token"))
    with pytest.raises(ToolError, match="git cannot use it: fatal: bad config line") as refused:
        open_helpers(trap.folder).git.git_status()
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("key", ["hook.evil.command", "filter.a=b.c.clean", "diff.\u017c.textconv", "gpg.ssh.program"])
def test_a_setting_that_names_a_program_is_another(trap: Hostile, key: str) -> None:
    """Those that this git knows nothing of yet, too."""
    trap.config(key, "evil")
    work = open_workspace([trap.folder], ["read"], os.environ)
    output = open_repository(work, ".").git.checked("config", "--get", key)
    assert output.strip() in (b"", b"false")


def test_more_settings_than_a_command_can_be_given_are_refused(trap: Hostile) -> None:
    with (trap.folder / ".git" / "config").open("a") as file:
        file.writelines(f'[filter "{number:0>80}"]\n\tclean = cat\n' for number in range(15_000))
    with pytest.raises(ToolError, match="cannot be started: Argument list too long"):
        open_helpers(trap.folder).git.git_status()


@pytest.mark.parametrize("place", ["{}", "../secret", "~/../secret", "link", "%(prefix)/x", ":(optional){}"])
def test_a_complaint_shows_no_line_of_a_file_elsewhere(trap: Hostile, tmp_path: Path, place: str) -> None:
    (tmp_path / "secret").write_text("s3cr3t\n")
    (trap.folder / "link").symlink_to(tmp_path / "secret")
    trap.config("blame.ignoreRevsFile", place.format(tmp_path / "secret"))
    with pytest.raises(ToolError, match="'blame.ignorerevsfile' leads out") as refused:
        open_helpers(trap.folder).git.blame("a.txt")
    assert "s3cr3t" not in str(refused.value)


def test_commits_that_a_file_of_the_repository_names_are_not_blamed(trap: Hostile) -> None:
    (trap.folder / "ignored").write_text(run_git(trap.folder, "rev-parse", "HEAD"))
    trap.config("blame.ignoreRevsFile", "ignored")
    assert open_helpers(trap.folder).git.blame("a.txt")["lines"] == 2


def test_an_error_has_no_control_characters(trap: Hostile) -> None:
    git: Any = open_helpers(trap.folder, rights=("git",)).git
    with pytest.raises(ToolError, match="did not match") as refused:
        git.git_add(["a\x1b[31m\u202eb\u2028c"])
    assert str(refused.value).isprintable()


def test_a_filtered_file_is_not_added_as_it_is(trap: Hostile) -> None:
    (trap.folder / ".gitattributes").write_text("*.bin filter=lfs\n")
    (trap.folder / "x.bin").write_text("large")
    git: Any = open_helpers(trap.folder, rights=("git",)).git
    with pytest.raises(ToolError, match="filter 'lfs'"):
        git.git_add(["."])
    assert run_git(trap.folder, "diff", "--cached", "--name-only") == ""


def test_somebody_elses_repository_is_not_trusted(trap: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(program.ENVIRONMENT, "GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(ToolError, match="does not trust"):
        open_helpers(trap.folder).git.git_status()
    home = trap.folder.parent / "home"
    (home / ".gitconfig").write_text(f"[safe]\n  directory = {trap.folder}\n")
    assert open_helpers(trap.folder).git.current_branch() == "main"


@pytest.mark.parametrize("link", ["repository", "borrowed"])
def test_a_git_folder_that_edits_can_reach_is_left_alone(trap: Hostile, link: str) -> None:
    """Otherwise a cell could name a program in its configuration when that has been read, and git is about to run."""
    if link == "repository":
        run_git(trap.folder, "init", "--quiet", "--separate-git-dir", str(trap.folder / "store"))
    else:
        run_git(trap.folder, "init", "--quiet", "--bare", "store")
        info = trap.folder / ".git" / "objects" / "info"
        info.mkdir(exist_ok=True)
        (info / "alternates").write_text(f"{trap.folder / 'store' / 'objects'}\n")
    with pytest.raises(ToolError, match="edits can reach"):
        open_helpers(trap.folder, rights=("read", "write")).git.git_status()
    assert open_helpers(trap.folder, rights=("read", "git")).git.git_status()["branch"] == "main"
