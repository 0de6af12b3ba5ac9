"""`rlm session`, `rlm skill` and the flags of `rlm run`, as real processes in a user's own place."""

from __future__ import annotations

import json
import re
import signal
import sqlite3

import pytest

from tests.integration.cli import User, fenced

LOCAL = ("--environment", "local")


def test_cells_of_a_session_go_on_from_each_other(user: User) -> None:
    first = user.rlm("session", "run", "work", "-c", "rows = [1, (2,)]\nprint('set')\nf = open", *LOCAL)
    assert (first.returncode, first.stdout) == (0, "set\n")
    assert "f is not kept" in first.stderr
    second = user.rlm("session", "run", "work", *LOCAL, stdin="rows[1]")
    assert (second.returncode, second.stdout) == (0, "(2,)\n")
    shown = user.rlm("session", "show", "work").stdout
    assert re.match(
        r"# session work: revision 2, saved 20..-..-.. ..:.. by run [0-9a-f]{32}; 1 variable, \d+ bytes\n", shown
    )
    assert "rows = [1, (2,)]" in shown
    assert user.rlm("session", "show", "work", "--cells").stdout.count("rows") == 2


def test_a_cell_that_raises_exits_1_and_keeps_what_it_set(user: User) -> None:
    failed = user.rlm("session", "run", "work", "-c", "x = 1\n1/0", *LOCAL)
    assert (failed.returncode, "ZeroDivisionError" in failed.stderr) == (1, True)
    assert "x = 1" in user.rlm("session", "show", "work").stdout


def test_a_run_goes_on_with_a_session(user: User) -> None:
    user.rlm("session", "save", "work", "-d", "what for", stdin='{"rows": [1, 2]}')
    model = user.script(fenced("total = sum(rows)\nFINAL(total)"))
    ran = user.rlm("run", "go", "--session", "work", "-m", model, *LOCAL)
    assert (ran.returncode, ran.stdout) == (0, "3\n")
    (note,) = json.loads(user.rlm("session", "list", "--json").stdout)
    assert (note["name"], note["description"], note["revision"]) == ("work", "what for", 2)
    assert "work  revision 2" in user.rlm("session", "list").stdout


def test_a_run_says_what_it_could_not_keep_where_nobody_watches_it(user: User) -> None:
    model = user.script(*[fenced("odd = object()\nFINAL(1)")] * 2)
    run = ("run", "go", "-m", model, *LOCAL, "--session")
    assert user.rlm(*run, "work").stderr == "warning: session 'work': not kept: odd (a value of type object)\n"
    assert user.rlm(*run, "other", "--quiet").stderr == ""


def test_cells_of_a_session_work_in_folders_that_are_allowed(user: User) -> None:
    user.write("src/a.py", "x = 1\n")
    missing = user.rlm("session", "run", "work", "-c", "fs.glob('*.py')", *LOCAL)
    assert missing.stderr.endswith(
        "\nhint: fs works only in folders that you allow: see --allowed-path of rlm session run and rlm run\n"
    )
    run = ("session", "run", "work", "--allowed-path", "src", *LOCAL, "-c")
    assert user.rlm(*run, "fs.search_replace('*.py', 'x', 'y')['files_modified']").stdout == "1\n"
    assert (user.cwd / "src/a.py").read_text() == "y = 1\n"


def test_a_session_is_deleted_when_that_is_agreed_to(user: User) -> None:
    user.rlm("session", "save", "work", stdin='{"x": 1}')
    assert "say --yes" in user.rlm("session", "delete", "work").stderr
    assert user.rlm("session", "delete", "work", "--yes").returncode == 0
    gone = user.rlm("session", "show", "work")
    assert (gone.returncode, "there is no session 'work'" in gone.stderr) == (2, True)


@pytest.mark.parametrize("given", ["[1]", "{", '{"a b": 1}', '{"x": NaN, "__y": 1}'])
def test_what_is_no_object_of_variables_is_refused(user: User, given: str) -> None:
    refused = user.rlm("session", "save", "work", stdin=given)
    assert (refused.returncode, refused.stdout) == (2, "")


def test_a_skill_is_saved_shown_tested_used_and_deleted(user: User) -> None:
    user.write("skill.py", "def strip(text):\n    return text.replace('a', '')\n")
    user.write("test.py", "assert strip('ab') == 'b'")
    saved = user.rlm("skill", "save", "strip", "skill.py", "-d", "Strips every a.", "-t", "test.py", *LOCAL)
    assert (saved.returncode, saved.stderr) == (0, "skill strip: version 1\n")
    assert "strip@1" in user.rlm("skill", "list").stdout
    shown = user.rlm("skill", "show", "strip").stdout
    assert "ran in local" in shown
    assert "return text.replace('a', '')" in shown
    assert user.rlm("skill", "test", "strip@1", *LOCAL).returncode == 0
    model = user.script(fenced("FINAL(skills.strip('banana'))"))
    assert user.rlm("run", "go", "--skill", "strip", "-m", model, *LOCAL).stdout == "bnn\n"
    assert user.rlm("skill", "delete", "strip", "-y").returncode == 0
    assert user.rlm("skill", "show", "strip").returncode == 2


def test_a_skill_that_fails_its_test_is_not_saved(user: User) -> None:
    user.write("test.py", "assert f() == 2")
    failed = user.rlm("skill", "save", "f", "-c", "def f(): return 1", "-d", "One.", "-t", "test.py", *LOCAL)
    assert (failed.returncode, "the test of skill 'f' failed in local" in failed.stderr) == (2, True)
    assert json.loads(user.rlm("skill", "list", "--json").stdout) == []


def test_a_function_of_a_session_becomes_a_skill(user: User) -> None:
    user.rlm("session", "run", "work", "-c", "n = [1]\ndef twice(x):\n    # why\n    return 2 * x\nf = open", *LOCAL)
    source = user.rlm("session", "show", "work", "twice").stdout
    assert source == "def twice(x):\n    # why\n    return 2 * x\n"
    assert user.rlm("skill", "save", "twice", "-", "-d", "Twice.", *LOCAL, stdin=source).returncode == 0
    assert user.rlm("session", "show", "work", "n").stdout == "[1]\n"
    for name, why in (("f", "a value of type"), ("gone", "no variable 'gone'")):
        missing = user.rlm("session", "show", "work", name)
        assert (missing.returncode, why in missing.stderr) == (2, True)


def test_a_failure_shows_its_traceback_and_one_line_of_error(user: User) -> None:
    user.write("test.py", "def check():\n    assert f() == 2, 'two\\nlines'\ncheck()")
    failed = user.rlm("skill", "save", "f", "-c", "def f(): return 1", "-d", "One.", "-t", "test.py", *LOCAL)
    *trace, error = failed.stderr.splitlines()
    assert error == "error: the test of skill 'f' failed in local: AssertionError: two"
    assert trace[0] == "Traceback (most recent call last):"
    assert "    assert f() == 2, 'two\\nlines'" in trace
    assert "hint:" not in failed.stderr


def test_a_run_goes_on_with_the_version_of_a_skill_that_it_loaded(user: User) -> None:
    save = ("skill", "save", "f", "-d", "Says which.", *LOCAL, "-c")
    assert user.rlm(*save, "def f(): return 'old'").returncode == 0
    model = user.script(fenced("said = [skills.f()]"), fenced("import time\nprint('in the cell')\ntime.sleep(3)"))
    options = ("--skill", "f", "--session", "work", "-m", model, "--output-format", "stream-json", *LOCAL)
    run = user.start("run", "go", *options)
    assert run.stdout is not None
    assert any("in the cell\\n" in line for line in run.stdout)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert user.rlm(*save, "def f(): return 'new'").returncode == 0
    user.script(fenced("FINAL([said, skills.f(), load_skill('f')()])"))
    again = user.rlm("resume", "last", "--session", "work")
    assert (again.returncode, json.loads(again.stdout)) == (0, [["old"], "old", "old"])


def test_what_a_store_says_does_not_steer_the_terminal(user: User) -> None:
    user.rlm("session", "run", "work", "-c", "x = '\x1b[2J'", "-c", "x = '\x1b[2J'", *LOCAL)
    user.rlm("session", "save", "work", "-d", "\x1b]0;own\x07", stdin='{"y": "\\u001b[2J"}')
    store = user.home / ".local/share/rlm/store.sqlite"
    connection = sqlite3.connect(store)
    with connection:
        connection.execute(
            "INSERT INTO cells (session, at, run, status, code) VALUES ('work', 1e300, '', 'ok\x1b', '\x1b[2J')"
        )
    connection.close()
    for command in (
        ("list",),
        ("show", "work"),
        ("show", "work", "--cells"),
        ("show", "work", "--json"),
        ("list", "--json"),
    ):
        shown = user.rlm("session", *command)
        assert (shown.returncode, "\x1b" in shown.stdout + shown.stderr) == (0, False), command


def test_what_a_skill_says_does_not_steer_the_terminal(user: User) -> None:
    user.rlm("skill", "save", "f", "-c", "def f(): return '\x1b]0;own\x07'", "-d", "\x1b[2Jwipe", *LOCAL)
    for command in (("skill", "list"), ("skill", "show", "f")):
        assert "\x1b" not in user.rlm(*command).stdout


def test_a_project_file_opens_no_session_untrusted(user: User) -> None:
    user.write("rlm.toml", '[rlm]\nsession = "work"\nstore_path = "own.sqlite"\n')
    refused = user.rlm("session", "list")
    assert (refused.returncode, "rlm trust" in refused.stderr) == (2, True)
