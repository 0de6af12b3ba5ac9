"""The live view on a real pseudo-terminal, and what a terminal is spared."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.integration.cli import User, fenced


def drained(terminal: int) -> str:
    """Everything that is written to a terminal until its other side closes."""
    pieces = []
    while True:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # Linux says so when the last writer is gone
            piece = b""
        if not piece:
            return b"".join(pieces).decode()
        pieces.append(piece)


def on_terminal(user: User, *arguments: str, answer_too: bool = False) -> tuple[str, str]:
    """What a run writes to a terminal on stderr, and to stdout if that is a pipe."""
    ours, theirs = os.openpty()
    process = user.start(*arguments, stderr=theirs, stdout=theirs if answer_too else subprocess.PIPE)
    os.close(theirs)
    shown = drained(ours)
    out = "" if process.stdout is None else process.stdout.read()
    process.communicate()
    os.close(ours)
    return shown, out


def test_the_live_line_shows_the_run_and_goes_away(user: User) -> None:
    model = user.script(fenced("import time; time.sleep(0.4)"), fenced("FINAL(1)"))
    shown, out = on_terminal(user, "run", "?", "--model", model)
    assert out == "1\n"
    assert "turn 1 · " in shown
    assert "tokens" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert "2 turns, " in shown.splitlines()[-1]


def test_quiet_shows_nothing_there(user: User) -> None:
    shown, out = on_terminal(user, "run", "?", "--model", user.script(fenced("FINAL(1)")), "--quiet")
    assert (shown, out) == ("", "1\n")


def test_an_answer_doesnt_steer_the_terminal_but_reaches_a_pipe_whole(user: User) -> None:
    model = user.script(fenced("FINAL('\\x1b]0;owned\\x07\\x1b[31mred')"))
    shown, _ = on_terminal(user, "run", "?", "--model", model, "--quiet", answer_too=True)
    assert shown == "red\r\n"
    assert user.rlm("run", "?", "--model", model).stdout == "\x1b]0;owned\x07\x1b[31mred\n"


def test_what_a_model_says_doesnt_steer_the_live_view(user: User) -> None:
    model = user.script(fenced("print('\\x1b]0;own' + 'ed\\x07')"), "\x1b]0;owned\x07", fenced("FINAL(1)"))
    shown, _ = on_terminal(user, "run", "\x1b]0;owned\x07", "--model", model, "--verbose")
    assert "owned" not in shown
    assert "\x1b]" not in shown


@pytest.mark.parametrize(
    ("typed", "code", "said"), [("y", 0, "is trusted as it is now"), ("n", 1, "nothing was changed")]
)
def test_trust_asks_on_a_terminal(user: User, typed: str, code: int, said: str) -> None:
    user.write("rlm.toml", "[local]\nallowed_imports = ['numpy']")
    ours, theirs = os.openpty()
    process = user.start("trust", stdin=theirs)
    os.write(ours, f"{typed}\n".encode())
    _, errors = process.communicate()
    os.close(ours)
    os.close(theirs)
    assert (process.returncode, said in errors) == (code, True)
    assert "local.allowed_imports = ['numpy']" in errors
