"""Where records go, and what git is told of them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rlm.core.exceptions import ConfigError
from rlm.trajectory.places import all_projects, log_folder
from rlm.trajectory.reader import find_run, list_runs, place_of
from tests.support.git_trees import run_git
from tests.unit.trajectory.records import RUN, write

OTHER = "cd" * 16


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": "/nowhere", "XDG_STATE_HOME": str(tmp_path / "state")}


def repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    run_git(folder, "init", "--quiet", ".")
    return folder


def seen_by_git(folder: Path) -> set[str]:
    return set(run_git(folder, "ls-files", "--others", "--exclude-standard").splitlines())


def test_a_project_has_one_folder_wherever_in_it_one_is(tmp_path: Path, environ: dict[str, str]) -> None:
    root = repository(tmp_path / "a b" / "My project")
    (root / "deep" / "er").mkdir(parents=True)
    folders = {log_folder(None, place, environ) for place in (root, root / "deep", root / "deep" / "er")}
    (folder,) = folders
    assert folder.parent == tmp_path / "state" / "rlm" / "runs" == all_projects(environ)
    assert folder.name.startswith("My-project-")
    assert log_folder(None, repository(tmp_path / "c" / "My project"), environ) not in folders
    assert log_folder("logs", root, environ) == Path("logs")


def test_without_a_home_a_folder_has_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="log_dir"):
        log_folder(None, tmp_path, {})
    assert log_folder("logs", tmp_path, {}) == Path("logs")


def test_only_the_owner_may_look_into_the_folder_of_a_project(tmp_path: Path, environ: dict[str, str]) -> None:
    path = write(log_folder(None, tmp_path, environ))
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, all_projects(environ))} == {0o700}


def test_the_folder_of_all_projects_has_the_records_of_each(tmp_path: Path, environ: dict[str, str]) -> None:
    here, there = (log_folder(None, tmp_path / name, environ) for name in ("here", "there"))
    write(here)
    write(there, run=OTHER)
    assert {run.path.parent for run in list_runs(all_projects(environ))} == {here, there}
    assert find_run(all_projects(environ), "last").path == there / f"{OTHER}.jsonl"
    assert [run.run_id for run in list_runs(here)] == [RUN]


def test_an_id_is_found_in_another_project_but_what_is_last_is_of_this_one(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    here, there = (log_folder(None, tmp_path / name, environ) for name in ("here", "there"))
    write(here)
    write(there, run=OTHER)
    assert find_run(*place_of(OTHER[:8], here)).path.parent == there
    assert find_run(*place_of("last", here)).path.parent == here
    for name in (OTHER[:4], "0" * 32):
        assert place_of(name, here) == (here, name)


@pytest.mark.parametrize("own", [None, "*.tmp\n"])
def test_git_takes_no_record_in_a_folder_that_was_there_before(tmp_path: Path, own: str | None) -> None:
    project = repository(tmp_path / "project")
    folder = project / "re[c]ords"
    folder.mkdir()
    (folder / "mine.txt").write_text("kept")
    if own is not None:
        (folder / ".gitignore").write_text(own)
    for run in (RUN, OTHER):
        path = write(folder, run=run)
        for suffix in (".exact", ".context"):
            path.with_suffix(suffix).write_text("secret")
    assert {name.rpartition("/")[2] for name in seen_by_git(project)} == {"mine.txt", *([".gitignore"] if own else [])}
    assert own is None or (folder / ".gitignore").read_text() == own
    excluded = (project / ".git" / "info" / "exclude").read_text()
    assert excluded.count("ords/[0-9a-f]") == (0 if own is None else 1)


def test_a_repository_that_is_the_folder_of_records_gets_no_rules_of_ours(tmp_path: Path) -> None:
    project = repository(tmp_path / "project")
    (project / "mine.txt").write_text("kept")
    write(project)
    assert seen_by_git(project) == {"mine.txt"}
    assert not (project / ".gitignore").exists()


def test_a_worktree_has_the_rules_of_its_repository(tmp_path: Path) -> None:
    project, tree = repository(tmp_path / "project"), tmp_path / "tree"
    run_git(project, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--allow-empty", "-m", "x")
    run_git(project, "worktree", "add", "--quiet", str(tree))
    (tree / "logs").mkdir()
    (tree / "logs" / ".gitignore").write_text("*.tmp\n")
    write(tree / "logs")
    assert seen_by_git(tree) == {"logs/.gitignore"}
    foreign = tmp_path / "foreign"
    (foreign / "records").mkdir(parents=True)
    (foreign / ".git").write_text(f"gitdir: {project / '.git' / 'worktrees' / 'tree'}\n")
    (foreign / "records" / ".gitignore").write_text("*.bak\n")
    before = (project / ".git" / "info" / "exclude").read_text()
    write(foreign / "records")
    assert (project / ".git" / "info" / "exclude").read_text() == before


def test_a_folder_that_a_run_makes_is_ignored_whole(tmp_path: Path) -> None:
    project = repository(tmp_path / "project")
    write(project / "logs")
    assert seen_by_git(project) == set()


def test_a_repository_that_leads_elsewhere_is_left_alone(tmp_path: Path) -> None:
    project, victim = repository(tmp_path / "project"), tmp_path / "victim"
    victim.write_text("untouched")
    (project / "logs").mkdir()
    (project / "logs" / ".gitignore").write_text("*.tmp\n")
    (project / ".git" / "info").mkdir(exist_ok=True)
    (project / ".git" / "info" / "exclude").unlink(missing_ok=True)
    (project / ".git" / "info" / "exclude").symlink_to(victim)
    assert write(project / "logs").exists()
    assert victim.read_text() == "untouched"
