"""Whether the cells of a completion get anywhere."""

import pytest

from rlm.core.loop.advice.circles import Circles
from rlm.core.types import ExecError, ExecResult, Final


def result(output="", error="", final=None):
    failure = ExecError(kind="ValueError", message=error, traceback="") if error else None
    return ExecResult(
        status="error" if error else "ok",
        output=output,
        output_chars=len(output),
        duration_s=0.0,
        error=failure,
        final=final,
        changed=(),
        state_reset=False,
    )


A, B, C, D = (("a", result("1")), ("b", result("2")), ("c", result("3")), ("d", result("4")))
BAD, BAD_TOO, BAD_AGAIN = (("x", result(error="no 1")), ("y", result(error="no 2")), ("z", result(error="no 3")))
END = ("end", result(final=Final(value=1, text="1")))
TURNS = [
    ([[A]], False),
    ([[A], [A]], True),
    ([[A, B], [A, B]], True),
    ([[A, B], [A, C]], False),
    ([[A], [BAD], [A]], True),
    ([[A], [B], [C], [C]], False),
    ([[BAD], [BAD]], True),
    ([[BAD], [BAD_TOO]], False),
    ([[BAD], [BAD_TOO], [BAD_AGAIN]], True),
    ([[END], [END]], False),
    ([[A], [A], []], False),
]


@pytest.mark.parametrize(("turns", "worth_nothing"), TURNS)
def test_a_turn_that_comes_to_nothing_new_is_worth_nothing_unless_much_was_shown(turns, worth_nothing):
    circles = Circles()
    for turn in turns:
        circles.begin_turn()
        for code, came_to in turn:
            circles.end(code, came_to)
    assert circles.is_worth_nothing == worth_nothing
