"""Ctrl-C and SIGTERM against a real process at work: the run lands, the sandbox is gone, the record says so."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import termios
from array import array
from pathlib import Path

import pytest

from tests.integration.cli import User, fenced, wait_for


def at_work(user: User, code: str) -> subprocess.Popen[str]:
    """A run whose sandbox is in its second cell, which is `code`."""
    process = user.start("run", "?", "--model", user.script(fenced("x = 1"), fenced(code)), "--verbose")
    wait_for(process, "turn 2")
    wait_for(process, "cell 2")
    return process


def record_of(user: User) -> list[dict[str, object]]:
    [path] = user.logs.glob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_until_read(pipe: int) -> None:
    """Return once nothing is left in the pipe."""
    left = array("i", [1])
    while left[0]:
        os.sched_yield()
        fcntl.ioctl(pipe, termios.FIONREAD, left)


def ignore_hangups() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def children_of(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_one_signal_lands_the_run(user: User, number: int, code: int) -> None:
    process = at_work(user, "while True: pass")
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code
    assert "error: cancelled" in errors
    assert f"record: ~/{user.logs.relative_to(user.home)}/" in errors
    assert "Traceback" not in errors
    end = record_of(user)[-1]
    assert (end["type"], end["body"]["status"]) == ("completion.end", "cancelled")  # type: ignore[index]


def test_a_cancelled_run_is_json_too(user: User) -> None:
    model = user.script(fenced("while True: pass"))
    process = user.start("run", "?", "--model", model, "--verbose", "-o", "json")
    wait_for(process, "cell 1")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert (process.returncode, json.loads(out)["status"]) == (130, "cancelled")


def test_no_sandbox_outlives_a_signal(user: User) -> None:
    process = at_work(user, "while True: pass")
    sandboxes = [os.pidfd_open(pid) for pid in children_of(process.pid)]
    assert sandboxes
    process.send_signal(signal.SIGTERM)
    process.communicate()
    for sandbox in sandboxes:
        assert select.select([sandbox], [], [], 10)[0]
        os.close(sandbox)


def test_the_second_signal_ends_at_once(user: User) -> None:
    process = at_work(user, "while True: pass")
    os.kill(process.pid, signal.SIGSTOP)  # so that both are pending when it goes on
    os.kill(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGCONT)
    process.communicate()
    assert process.returncode in (130, 143)


def test_a_signal_before_the_run_begins_is_no_traceback(user: User) -> None:
    reading, writing = os.pipe()
    process = user.start("run", "-", "--model", "demo", stdin=reading)
    os.write(writing, b"?")
    wait_until_read(reading)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    os.close(reading)
    os.close(writing)
    assert (process.returncode, errors) == (130, "error: interrupted\n")


def test_an_ignored_signal_stays_ignored(user: User) -> None:
    model = user.script(fenced("x = 1"), fenced("import time; time.sleep(0.3); FINAL(1)"))
    process = user.start("run", "?", "--model", model, "-v", preexec_fn=ignore_hangups)
    wait_for(process, "turn 2")
    process.send_signal(signal.SIGHUP)
    assert process.communicate()[0] == "1\n"


def test_exec_is_ended_by_a_signal(user: User) -> None:
    process = user.start("exec", "-c", "print('begun', flush=True)\nwhile True: pass")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in errors
