"""`rlm exec`: code in the real sandbox, with no model and no record."""

from __future__ import annotations

import pytest

from tests.integration.cli import CHOSE, User

HINTS = {
    "fs": "hint: fs works only in folders that you allow: see --allowed-path of rlm session run and rlm run",
    "skills": "hint: skills are there only if you name them: see --skill of rlm session run and rlm run",
}


def test_a_script_gets_its_arguments(user: User) -> None:
    user.write("script.py", "print(argv)")
    done = user.rlm("exec", "script.py", "a", "b c", "--env", "local")
    assert (done.returncode, done.stdout) == (0, "['script.py', 'a', 'b c']\n"), done.stderr
    user.write("script.py", "import sys\nprint(sys.argv)")
    assert "what `rlm exec` was given is in argv" in user.rlm("exec", "script.py", "a", "--env", "local").stderr
    done = user.rlm("exec", "script.py", "a", "--env", "local", "--policy", "off")
    assert (done.returncode, done.stdout) == (0, "['script.py', 'a']\n"), done.stderr


def test_output_and_the_final_value_go_to_stdout(user: User) -> None:
    user.write("data.txt", "hello")
    user.write("count.py", "print('counting')\nFINAL({'n': len(context)})")
    done = user.rlm("exec", "count.py", "-f", "data.txt")
    assert (done.returncode, done.stdout, done.stderr) == (0, 'counting\n{"n": 5}\n', CHOSE)
    assert not user.logs.exists()


def test_code_comes_from_stdin_or_an_option(user: User) -> None:
    assert user.rlm("exec", stdin="print(1)").stdout == "1\n"
    assert user.rlm("exec", "-", stdin="print(2)").stdout == "2\n"
    assert user.rlm("exec", "-c", "len(context)", stdin="four").stdout == "4\n"


def test_an_error_goes_to_stderr_and_exits_1(user: User) -> None:
    done = user.rlm("exec", "-c", "print('before')\n1 / 0")
    assert (done.returncode, done.stdout) == (1, "before\n")
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "rlm/" not in done.stderr


def test_a_loop_ends_with_a_message(user: User) -> None:
    done = user.rlm("exec", "-c", "print('begun')\nwhile True: pass", "--cell-timeout", "0.5")
    assert (done.returncode, done.stdout) == (1, "begun\n")
    assert "error: timed out: a cell may run for 0.5 s\nhint: allow more with --cell-timeout\n" in done.stderr


def test_there_is_no_model_to_call(user: User) -> None:
    done = user.rlm("exec", "-c", "llm_query('?')")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("\nhint: llm_query needs a model: see --model of rlm session run and rlm run\n")


@pytest.mark.parametrize("name", ["fs", "skills"])
def test_what_needs_a_record_is_said_to_be_elsewhere(user: User, name: str) -> None:
    done = user.rlm("exec", "-c", name)
    assert done.stderr.endswith(f"NameError: name {name!r} is not defined\n{HINTS[name]}\n")


def test_a_flood_is_cut_and_said_to_be(user: User) -> None:
    done = user.rlm("exec", "-c", "for _ in range(3000): print('x' * 999)")
    assert done.returncode == 0
    assert len(done.stdout) <= 1_000_001
    assert "warning: the code printed 3,000,000 characters; the beginning and the end were kept" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["exec"], "there is no code"),
        (["exec", "missing.py"], "missing.py: No such file"),
        (["exec", "-c", "1", "script.py"], "not both"),
        (["exec", "-c", "1", "-f", "missing.txt"], "missing.txt"),
        (["exec", "-c", "1", "--policy", "odd"], "--policy: expected one of off, relaxed, strict"),
    ],
)
def test_wrong_usage_exits_2(user: User, arguments: list[str], said: str) -> None:
    done = user.rlm(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_code_has_no_network_and_no_files(user: User) -> None:
    secret = user.write("secret.txt", "hidden")
    for code in (f"print(open({str(secret)!r}).read())", "import socket; socket.socket()"):
        done = user.rlm("exec", "--policy", "off", "-c", code)
        assert (done.returncode, done.stdout) == (1, "")
