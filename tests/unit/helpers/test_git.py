"""The git helper over ordinary repositories."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import git, open_helpers
from tests.support.git_trees import make_repository, run_git

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repository(tree: Path) -> Path:
    return make_repository(tree)


def test_status_tells_files_by_kind_with_renames(repository: Path) -> None:
    (repository / "b c.txt").write_text("1\n2\n3\n4\n")
    (repository / "gone.txt").write_text("x\n")
    run_git(repository, "add", ".")
    run_git(repository, "commit", "--quiet", "-m", "b")
    run_git(repository, "mv", "b c.txt", "d\te.txt")
    (repository / "gone.txt").unlink()
    (repository / "a.txt").write_text("changed\n")
    (repository / "new ż.txt").write_text("")
    status = git.git_status()
    assert status["files"]["modified"] == ["a.txt"]
    assert status["files"]["untracked"] == ["new ż.txt"]
    assert status["files"]["deleted"] == ["gone.txt"]
    assert status["files"]["renamed"] == [{"from": "b c.txt", "to": "d\te.txt"}]
    assert (status["branch"], status["state"], status["is_clean"]) == ("main", None, False)


def test_the_documents_round(repository: Path) -> None:
    (repository / "b.txt").write_text("b\n")
    assert git.git_add(["."]) == {"staged": 1, "files": ["b.txt"]}
    made = git.git_commit("feat: refactor authentication module")
    assert (made["subject"], made["files"]) == ("feat: refactor authentication module", 1)
    assert git.create_branch("feature/new-auth", checkout=True) == {"branch": "feature/new-auth", "checked_out": True}
    assert git.current_branch() == "feature/new-auth"
    assert git.git_status()["is_clean"]
    assert run_git(repository, "log", "-1", "--format=%an %ae %s").startswith("Someone someone@example.org feat:")


def test_diff_has_counts_and_is_cut(repository: Path) -> None:
    (repository / "a.txt").write_text("one\n" + "more\n" * 100)
    facts = git.diff(max_chars=60)
    assert (facts["files_changed"], facts["lines_added"], facts["lines_removed"]) == (1, 100, 1)
    assert (len(facts["diff"]), facts["was_cut"]) == (60, True)
    assert git.diff(base="HEAD~1", max_chars=0)["files"] == [{"file": "a.txt", "added": 100, "removed": 0}]
    assert git.diff(staged=True)["diff"] == ""


def test_log_is_paged(repository: Path) -> None:
    assert [row["subject"] for row in git.log()] == ["2 lines", "1 lines"]
    assert [row["subject"] for row in git.log(limit=1, offset=1)] == ["1 lines"]


def test_blame_is_a_summary(repository: Path) -> None:
    facts = git.blame("a.txt")
    assert (facts["lines"], facts["authors"]) == (2, {"A": 2})
    assert [row["subject"] for row in facts["commits"]] == ["1 lines", "2 lines"]


def test_a_repository_without_commits_works(tree: Path) -> None:
    run_git(tree, "init", "--quiet", "--initial-branch=main", ".")
    run_git(tree, "config", "user.name", "S")
    run_git(tree, "config", "user.email", "s@example.org")
    (tree / "a").write_text("a")
    assert git.log() == []
    assert git.git_status()["commit"] is None
    git.git_add(["a"])
    assert git.git_commit("first")["files"] == 1


def test_a_merge_under_way_is_told_and_stops_a_commit(repository: Path) -> None:
    run_git(repository, "checkout", "--quiet", "-b", "other", "HEAD~1")
    (repository / "a.txt").write_text("theirs\n")
    run_git(repository, "commit", "--quiet", "-am", "theirs")
    with pytest.raises(Exception, match="merge"):
        run_git(repository, "merge", "main")
    status = git.git_status()
    assert (status["state"], status["files"]["conflicted"]) == ("merging", ["a.txt"])
    with pytest.raises(ToolError, match="is merging: finish or abort that first"):
        git.git_commit("x")


def test_nothing_staged_is_no_commit(repository: Path) -> None:
    with pytest.raises(ToolError, match="nothing is staged"):
        git.git_commit("x")


def test_paths_that_escape_are_refused(repository: Path) -> None:
    for path in ("../x", "/etc/passwd", ".git/config", ":/", ":(top)."):
        with pytest.raises(ToolError):
            git.git_add([path])


def test_the_rights_to_change_and_to_push_are_their_own(repository: Path) -> None:
    with pytest.raises(ToolError, match="no 'git'"):
        open_helpers(repository, rights=["read", "write"]).git.git_add(["."])
    with pytest.raises(ToolError, match="no 'push'"):
        open_helpers(repository, rights=["read", "write", "git"]).git.git_push("origin", "main")


def test_a_push_goes_over_ssh_to_the_branch_of_the_same_name(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(
        '#!/bin/sh\nfor last; do :; done\nunset $(git rev-parse --local-env-vars)\neval "$last"\n'
    )
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    run_git(repository, "remote", "add", "origin", f"ssh://someone:secret@host{tmp_path}/remote.git")
    assert git.git_push("origin", "main") == {
        "remote": "origin", "url": f"ssh://host{tmp_path}/remote.git", "branch": "main",
    }  # fmt: skip
    assert run_git(tmp_path / "remote.git", "rev-parse", "main") == run_git(repository, "rev-parse", "main")


def test_a_folder_without_a_repository_says_so(tree: Path) -> None:
    with pytest.raises(ToolError, match="in no git repository"):
        git.git_status()
