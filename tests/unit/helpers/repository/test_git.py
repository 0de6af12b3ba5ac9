"""The git helper over ordinary repositories."""

from __future__ import annotations

import os
import shutil
from subprocess import CalledProcessError
from typing import TYPE_CHECKING

import msgspec
import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import git, open_helpers
from rlm.helpers.guest_tools import GuestHelpers
from rlm.helpers.opening import open_workspace
from rlm.helpers.repository import program
from rlm.processes.worker import WorkerPool
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


def test_the_users_own_code_works_below_the_top_of_a_repository(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "pkg").mkdir()
    for name in ("pkg/new.py", "other.py"):
        (repository / name).write_text("x = 1\n")
    monkeypatch.chdir(repository / "pkg")
    assert git.git_status()["files"]["untracked"] == ["other.py", "pkg/new.py"]
    assert git.git_add(["."]) == {"staged": 1, "files": ["pkg/new.py"]}
    assert git.git_commit("below")["files"] == 1
    assert git.blame("new.py")["lines"] == 1
    with pytest.raises(ToolError, match="named from the top of the repository"):
        git.git_add(["new.py"])
    with pytest.raises(ToolError, match="in no git repository whose top folder is in this workspace"):
        open_helpers(".").git.git_status()


def test_the_users_own_code_works_in_another_working_tree(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_git(repository, "worktree", "add", "--quiet", "-b", "side", str(repository.parent / "side"))
    monkeypatch.chdir(repository.parent / "side")
    (repository.parent / "side" / "new.py").write_text("x = 1\n")
    assert git.git_add(["."])["files"] == ["new.py"]
    git.git_commit("in another tree")
    assert git.current_branch() == "side"
    with pytest.raises(ToolError, match="keeps its objects outside of the workspace"):
        open_helpers(".").git.git_status()


def test_a_submodule_that_moved_is_a_change(repository: Path) -> None:
    make_repository(repository / "lib")
    run_git(repository, "add", "lib")
    run_git(repository, "commit", "--quiet", "-m", "lib")
    assert git.git_status()["is_clean"]
    run_git(repository / "lib", "commit", "--quiet", "--allow-empty", "-m", "on")
    status = git.git_status()
    assert (status["is_clean"], status["files"]["submodules"], status["counts"]["submodules"]) == (False, ["lib"], 1)
    assert git.diff()["files"] == [{"file": "lib", "added": 1, "removed": 1}]
    (repository / "lib" / "a.txt").write_text("changed in it")
    assert git.git_status() == status


def test_a_commit_names_what_it_passed_by(repository: Path) -> None:
    for name in ("pre-commit", "commit-msg.sample", "post-commit", "pre-push"):
        (repository / ".git" / "hooks").mkdir(exist_ok=True)
        (repository / ".git" / "hooks" / name).write_text("#!/bin/sh\nexit 1\n")
        (repository / ".git" / "hooks" / name).chmod(0o755)
    (repository / ".git" / "hooks" / "post-commit").chmod(0o644)
    run_git(repository, "config", "commit.gpgsign", "true")
    run_git(repository, "config", "hook.lint.command", "false")
    run_git(repository, "config", "hook.lint.event", "pre-commit")
    (repository / "b.txt").write_text("b\n")
    git.git_add(["."])
    made = git.git_commit("b")
    assert (made["hooks_not_run"], made["unsigned"]) == (["pre-commit", "lint"], True)


def test_hooks_in_a_folder_of_the_users_choice_are_named_too(repository: Path) -> None:
    (repository / "hooks").mkdir()
    (repository / "hooks" / "commit-msg").write_text("#!/bin/sh\nexit 1\n")
    (repository / "hooks" / "commit-msg").chmod(0o755)
    run_git(repository, "config", "core.hooksPath", "hooks")
    git.git_add(["."])
    assert git.git_commit("b")["hooks_not_run"] == ["commit-msg"]


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
    assert [row["subject"] for row in facts["commits"]] == ["2 lines", "1 lines"]


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
    with pytest.raises(CalledProcessError):
        run_git(repository, "merge", "main")
    status = git.git_status()
    assert (status["state"], status["files"]["conflicted"]) == ("merging", ["a.txt"])
    assert (git.diff()["files_changed"], git.diff()["diff"][:15]) == (1, "diff --cc a.txt")
    with pytest.raises(ToolError, match="is merging: finish or abort that first"):
        git.git_commit("x")


def test_nothing_staged_is_no_commit(repository: Path) -> None:
    with pytest.raises(ToolError, match="nothing is staged"):
        git.git_commit("x")


def test_a_rename_that_is_changed_again_is_modified_too(repository: Path) -> None:
    run_git(repository, "mv", "a.txt", "b.txt")
    (repository / "b.txt").write_text("one\ntwo\nthree\n")
    files = git.git_status()["files"]
    assert (files["renamed"], files["modified"]) == ([{"from": "a.txt", "to": "b.txt"}], ["b.txt"])


def test_names_of_any_bytes_and_characters_come_back(repository: Path) -> None:
    for name in (b"caf\xe9", b"a\x1b[31m\nb"):
        (repository / os.fsdecode(name)).write_text("")
    told = git.git_status()["files"]["untracked"]
    assert told == ["a\x1b[31m\nb", "caf\\xe9"]
    assert msgspec.json.encode(told)
    assert git.git_add(["."])["files"] == told
    assert [row["file"] for row in git.diff(staged=True)["files"]] == told


def test_a_limit_below_none_is_none(repository: Path) -> None:
    (repository / "new").write_text("")
    status = git.git_status(limit=-1)
    assert (status["files"]["untracked"], status["counts"]) == ([], {"untracked": 1})


def test_more_changes_than_can_be_read_are_an_error(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut short, the counts would be wrong and a filter would be missed."""
    monkeypatch.setattr(program, "MAX_OUTPUT_BYTES", 4_000)
    for number in range(30):
        (repository / f"{number:0200}").write_text("")
    for call in (git.git_status, lambda: git.git_add(["."])):
        with pytest.raises(ToolError, match="more to say than 4,000 bytes"):
            call()


def test_blame_of_some_lines_and_of_none(repository: Path) -> None:
    assert git.blame("a.txt", start_line=2)["commits"][0]["subject"] == "2 lines"
    assert git.blame("a.txt", end_line=1)["commits"][0]["subject"] == "1 lines"
    (repository / "empty").write_text("")
    run_git(repository, "add", "empty")
    assert git.blame("empty")["lines"] == 0
    for span in ((0, 1), (2, 1), (3, 9)):
        with pytest.raises(ToolError, match="lines"):
            git.blame("a.txt", *span)


def test_blame_of_a_folder_says_that_it_is_one(repository: Path) -> None:
    (repository / "d").mkdir()
    for folder in (".", "d"):
        with pytest.raises(ToolError, match=f"'{folder}' is a folder"):
            git.blame(folder)


async def test_a_cell_sees_what_python_sees(repository: Path) -> None:
    (repository / os.fsdecode(b"caf\xe9")).write_text("")
    workers = WorkerPool(size=1)
    guests = GuestHelpers(open_workspace([repository], ["read", "git"], os.environ), workers, 60.0)
    try:
        assert await guests.get("git.git_status").call({}) == git.git_status()
        assert await guests.get("git.git_add").call({"files": ["."]}) == {"staged": 1, "files": ["caf\\xe9"]}
        assert (await guests.get("git.git_commit").call({"message": "new"}))["files"] == 1
    finally:
        await workers.aclose()


def test_blame_of_a_long_file_counts_all_lines(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "MAX_OUTPUT_BYTES", 4_000)
    (repository / "long").write_text("".join(f"{number}\n" for number in range(10_000)))
    run_git(repository, "add", ".")
    run_git(repository, "commit", "--quiet", "-m", "long")
    assert git.blame("long")["authors"] == {"A": 10_000}


def test_a_symlink_is_staged_and_never_what_it_leads_to(repository: Path) -> None:
    (repository / "a.txt").write_text("changed\n")
    for name, target in (("in", "a.txt"), ("out", "/etc/passwd")):
        (repository / name).symlink_to(target)
    assert git.git_add(["in", "out"])["files"] == ["in", "out"]
    with pytest.raises(ToolError, match="outside"):
        git.blame("out")


def test_what_is_gone_with_its_folder_is_staged(repository: Path) -> None:
    (repository / "d").mkdir()
    (repository / "d" / "f").write_text("x")
    run_git(repository, "add", ".")
    run_git(repository, "commit", "--quiet", "-m", "d")
    shutil.rmtree(repository / "d")
    assert git.diff(paths=["d/f"])["lines_removed"] == 1
    assert git.git_add(git.git_status()["files"]["deleted"])["files"] == ["d/f"]
    assert [row["subject"] for row in git.log(paths=["d/f"])] == ["d"]


def test_files_are_named_as_status_names_them_in_a_repository_further_down(repository: Path) -> None:
    (repository / "new").write_text("")
    above = open_helpers(repository.parent, rights=["read", "git"]).git
    named = above.git_status(path="tree")["files"]["untracked"]
    assert above.git_add([*named, str(repository / "a.txt")], path="tree")["files"] == ["new"]
    assert above.blame("tree/a.txt")["lines"] == 2


def test_a_name_that_is_not_there_is_no_unchanged_file(repository: Path) -> None:
    for call in (lambda: git.diff(paths=["a.tx"]), lambda: git.log(paths=["a.tx"])):
        with pytest.raises(ToolError, match=r"there is no 'a\.tx'"):
            call()
    assert git.diff(paths=["a.txt"])["files"] == []


def test_a_message_keeps_its_characters_whatever_the_repository_says(repository: Path) -> None:
    run_git(repository, "config", "i18n.commitEncoding", "latin1")
    (repository / "new").write_text("")
    git.git_add(["new"])
    git.git_commit("zażółć\n\n# kept")
    assert git.log(limit=1)[0]["subject"] == "zażółć"
    assert run_git(repository, "log", "-1", "--format=%B") == "zażółć\n\n# kept"


def test_a_commit_needs_a_message_and_a_name(repository: Path) -> None:
    run_git(repository, "config", "user.email", "")
    (repository / "new").write_text("")
    git.git_add(["new"])
    with pytest.raises(ToolError, match="a message of 1 to"):
        git.git_commit(" \n")
    with pytest.raises(ToolError, match=r"does not know who you are: set user\.name and user\.email"):
        git.git_commit("x")


def test_what_the_user_ignores_everywhere_is_not_staged(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text("[core]\n\texcludesFile = ~/ignored\n")
    (tmp_path / "ignored").write_text(".env\n")
    for name in (".env", "new"):
        (repository / name).write_text("")
    assert git.git_add(["."])["files"] == ["new"]
    with pytest.raises(ToolError, match="ignored"):
        git.git_add([".env"])


def test_a_filter_that_must_run_and_does_not_stops_no_look(repository: Path) -> None:
    run_git(repository, "config", "filter.lfs.clean", "false")
    run_git(repository, "config", "filter.lfs.required", "true")
    (repository / ".gitattributes").write_text("*.txt filter=lfs\n")
    (repository / "a.txt").write_text("one\nTWO\n")
    assert git.git_status()["files"]["modified"] == ["a.txt"]
    assert git.diff()["lines_added"] == 1


def test_reading_writes_nothing(repository: Path) -> None:
    os.utime(repository / "a.txt", (1, 1))  # an index that plain git would refresh
    before = {path: path.read_bytes() for path in (repository / ".git").rglob("*") if path.is_file()}
    git.git_status(), git.diff(), git.log(), git.blame("a.txt"), git.current_branch()
    assert {path: path.read_bytes() for path in (repository / ".git").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("options", [("--object-format=sha256",), ("--bare",)])
def test_other_kinds_of_repositories(tree: Path, options: tuple[str, ...]) -> None:
    run_git(tree, "init", "--quiet", *options, "--initial-branch=main", ".")
    if "--bare" in options:
        with pytest.raises(ToolError, match="in no git repository"):
            git.git_status()
        return
    run_git(tree, "config", "user.name", "S")
    run_git(tree, "config", "user.email", "s@example.org")
    (tree / "a").write_text("a\n")
    git.git_add(["a"])
    assert len(git.git_commit("first")["commit"]) == 64
    assert git.blame("a")["lines"] == 1


def test_a_linked_working_tree_works_beside_its_repository(repository: Path) -> None:
    run_git(repository, "worktree", "add", "--quiet", "linked")
    above = open_helpers(repository, rights=["read", "git"]).git
    (repository / "linked" / "new").write_text("")
    assert above.git_add(["new"], path="linked")["staged"] == 1
    assert above.git_commit("linked", path="linked")["files"] == 1
    assert above.current_branch(path="linked") == "linked"
    with pytest.raises(ToolError, match="outside of the workspace"):
        open_helpers(repository / "linked").git.git_status()


def test_paths_that_escape_are_refused(repository: Path) -> None:
    for path in ("../x", "/etc/passwd", ".git/config", "sub/.GIT/x", ":/", ":(exclude)a.txt", "", "a\0b"):
        with pytest.raises(ToolError):
            git.git_add([path])


def test_the_rights_to_change_and_to_push_are_their_own(repository: Path) -> None:
    with pytest.raises(ToolError, match="no 'git'"):
        open_helpers(repository, rights=["read", "write"]).git.git_add(["."])
    with pytest.raises(ToolError, match="no 'push'"):
        open_helpers(repository, rights=["read", "write", "git"]).git.git_push("origin", "main")


def test_a_folder_without_a_repository_says_so(tree: Path) -> None:
    with pytest.raises(ToolError, match="in no git repository"):
        git.git_status()
