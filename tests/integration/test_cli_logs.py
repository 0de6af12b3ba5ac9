"""`rlm logs` over records of real runs, and over torn and hostile ones."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.integration.cli import User, fenced, wait_for
from tests.support.fork_server import ForkServer

CHILD = "print('look'); FINAL(rlm_query('how many?', context))"


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer) -> Path:
    """The records of a run that failed in its code, and then of one that has a child."""
    with User(tmp_path_factory.mktemp("two-runs"), fork_server) as user:
        user.rlm("run", "first", "--model", user.script(fenced("1 / 0"), fenced("FINAL(0)")))
        user.write("data.txt", "abc")
        user.rlm(
            "run", "second", "-f", "data.txt", "--model", user.script(fenced(CHILD), fenced("FINAL(len(context))"))
        )
    return user.logs


@pytest.fixture
def two(user: User, two_runs: Path) -> User:
    """With both records, as nobody has looked at them yet."""
    shutil.copytree(two_runs, user.logs)
    return user


def ids(user: User) -> list[str]:
    return [run["run_id"] for run in json.loads(user.rlm("logs", "list", "--json").stdout)]


def test_runs_are_listed_newest_first(two: User) -> None:
    runs = json.loads(two.rlm("logs", "list", "--json").stdout)
    assert [(run["prompt"], run["status"], run["turns"]) for run in runs] == [
        ("second", "completed", 2),
        ("first", "completed", 2),
    ]
    head, second, _ = two.rlm("logs", "list").stdout.splitlines()
    assert head.split() == ["id", "when", "status", "model", "turns", "tokens", "cost", "time", "prompt"]
    assert second.startswith(runs[0]["run_id"][:8])
    assert two.rlm("logs").stdout == two.rlm("logs", "list").stdout
    assert len(two.rlm("logs", "list", "-n", "1").stdout.splitlines()) == 2


def test_a_run_is_shown_as_a_tree(two: User) -> None:
    shown = two.rlm("logs", "show").stdout
    for text in ("prompt: second", "turn 1", "> print('look')", "| look", "child at depth 1: how many?", "answer: 3"):
        assert text in shown
    assert shown.index("| look") < shown.index("child at depth 1") < shown.index("answer: 3")


def test_an_error_in_code_is_shown(two: User) -> None:
    shown = two.rlm("logs", "show", ids(two)[1][:6]).stdout
    assert "cell 1 (error" in shown
    assert "! ZeroDivisionError: division by zero" in shown


def test_a_run_is_one_json_document(two: User) -> None:
    document = json.loads(two.rlm("logs", "show", "last", "--json").stdout)
    assert document["run"]["status"] == "completed"
    spans = {span["span"]: span for span in document["spans"]}
    completions = [span for span in document["spans"] if span["kind"] == "completion"]
    assert [span["start"]["body"]["depth"] for span in completions] == [0, 1]
    assert spans[completions[1]["parent"]]["kind"] == "exec"


@pytest.mark.parametrize(("name", "said"), [("ffffffff", "no run in"), ("", "2 runs begin with ''")])
def test_no_such_run_exits_2(two: User, name: str, said: str) -> None:
    done = two.rlm("logs", "show", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_runs_of_other_projects_are_found_by_id_and_listed_only_if_asked_for(user: User, two_runs: Path) -> None:
    shutil.copytree(two_runs, user.logs.with_name("elsewhere-0123456789ab"))
    assert user.rlm("logs", "list", "--json").stdout == "[]\n"
    found = json.loads(user.rlm("logs", "list", "--all", "--json").stdout)
    assert [run["project"] for run in found] == ["elsewhere-0123456789ab"] * 2
    assert "[elsewhere-0123456789ab]" in user.rlm("logs", "list", "--all").stdout
    assert user.rlm("logs", "show", found[0]["run_id"][:8]).returncode == 0
    assert user.rlm("verify", found[0]["run_id"]).returncode == 0
    assert len(json.loads(user.rlm("logs", "export", found[0]["run_id"]).stdout)) == 1
    assert len(json.loads(user.rlm("logs", "export", "--all").stdout)) == 2
    assert user.rlm("logs", "show", "last").returncode == 2
    assert user.rlm("logs", "list", "--all", "--log-dir", ".").returncode == 2


def test_no_runs_is_no_error_to_list_but_one_to_show(user: User) -> None:
    assert (user.rlm("logs").returncode, user.rlm("logs", "list", "--json").stdout) == (0, "[]\n")
    assert user.rlm("logs", "show").returncode == 2


def test_a_run_is_running_until_it_is_killed(user: User) -> None:
    process = user.start("run", "?", "--model", user.script(fenced("while True: pass")), "--verbose")
    wait_for(process, "cell 1")
    [running] = json.loads(user.rlm("logs", "list", "--json").stdout)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    [crashed] = json.loads(user.rlm("logs", "list", "--json").stdout)
    assert (running["status"], crashed["status"]) == ("running", "crashed")
    assert "cell 1 (didn't end)" in user.rlm("logs", "show").stdout
    assert user.rlm("logs", "tail").stdout.endswith("cut off: the run has no end\n")


def test_a_live_run_is_followed_to_its_end(user: User) -> None:
    model = user.script(fenced("x = 1"), fenced("import time\ntime.sleep(0.5)\nFINAL(1)"))
    process = user.start("run", "?", "--model", model, "--verbose")
    wait_for(process, "turn 1")
    followed = user.rlm("logs", "tail", "--follow")
    process.communicate()
    assert "turn 1" in followed.stdout
    assert "cell 2" in followed.stdout
    assert followed.stdout.count("cell ok") == 2
    assert followed.stdout.endswith("run completed: 1\n")


def test_tail_shows_the_last_steps(two: User) -> None:
    lines = two.rlm("logs", "tail", "last", "-n", "2").stdout.splitlines()
    assert len(lines) == 3
    assert "cell ok" in lines[1]
    assert lines[2].endswith("run completed: 3")


def test_torn_and_foreign_lines_are_passed_over(two: User) -> None:
    path = two.logs / f"{ids(two)[0]}.jsonl"
    content = path.read_bytes()
    path.write_bytes(b"hello\n" + content[: len(content) - 40])
    done = two.rlm("logs", "show", path.stem)
    assert done.returncode == 0
    assert "prompt: second" in done.stdout
    assert "1 lines of" in done.stderr


def test_nothing_in_a_log_steers_the_terminal(user: User) -> None:
    evil = "\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\u202e\\rhidden"
    user.rlm("run", "a\x1b[2Jb", "--model", user.script(fenced(f"print('{evil}')\nFINAL('{evil}')")))
    for command in (["list"], ["show"], ["show", "--full"], ["tail"]):
        shown = user.rlm("logs", *command).stdout
        assert not [char for char in shown if char != "\n" and not char.isprintable()]
    assert user.rlm("logs", "show").stdout.endswith("answer: \\u202e\\rhidden\n")


def test_a_reader_that_stops_early_is_no_error(two: User) -> None:
    process = two.start("logs", "show", "--full")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 0
    process.stderr.close()
