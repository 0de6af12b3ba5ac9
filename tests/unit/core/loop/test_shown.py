"""What is shown of a cell: the true end of its output, true counts, and why it was stopped."""

from __future__ import annotations

from rlm.core.loop import shown
from rlm.core.types import ExecError, ExecResult

TRACEBACK = 'Traceback (most recent call last):\n  File "<cell 1>", line 3, in <module>\nKeyboardInterrupt\n'


def same(text: str) -> str:
    return text


def result(status: str = "ok", error: ExecError | None = None, **fields: object) -> ExecResult:
    given = {"output": "", "output_chars": 0, "duration_s": 0.0, **fields}
    return ExecResult(status=status, error=error, **given)  # type: ignore[arg-type]


def test_the_end_of_the_output_is_shown_and_all_of_it_is_counted() -> None:
    kept = "x" * 900 + "\n[... 5,000 characters were not kept ...]\n" + "y" * 90 + "\n42\n"
    cut = shown.output_text(result(output=kept, output_chars=len(kept) + 5_000), 100, same)
    assert cut.startswith("x" * 60)
    assert cut.endswith("y" * 36 + "\n42")
    assert f"{len(kept) + 4_900:,} of {len(kept) + 5_000:,} characters cut here" in cut


def test_a_cut_that_would_save_nothing_is_not_made() -> None:
    text = "z" * 9_999 + "\n{'answer': 42}\n"
    assert shown.output_text(result(output=text, output_chars=len(text)), 10_000, same) == text.rstrip("\n")


def test_output_is_masked_before_it_is_cut() -> None:
    text = "a" * 55 + "SECRET" + "b" * 500
    assert "SECRET" not in shown.output_text(
        result(output=text, output_chars=len(text)), 100, lambda text: text.replace("SECRET", "[MASKED]")
    )


def test_a_cell_that_ran_out_of_time_says_so_and_what_is_kept() -> None:
    error = ExecError(kind="TimeoutError", message="the cell ran longer than 2 s and was stopped", traceback=TRACEBACK)
    stopped = result("timeout", error, changed=("y", "rows"))
    assert shown.error_text(stopped).splitlines()[-2:] == [
        "KeyboardInterrupt",
        "TimeoutError: the cell ran longer than 2 s and was stopped",
    ]
    assert shown.variables_text(stopped) == "[All variables are kept, those too that this cell had set: y, rows.]"


def test_a_cell_that_cost_the_repl_says_so() -> None:
    error = ExecError(kind="TimeoutError", message="the cell ran longer than 2 s and was stopped", traceback="")
    killed = result("timeout", error, state_reset=True)
    assert shown.error_text(killed) == "TimeoutError: the cell ran longer than 2 s and was stopped"
    assert shown.variables_text(killed) == "[The REPL was restarted: every variable is gone but `context`.]"


def test_an_ordinary_error_is_its_traceback_and_says_nothing_of_variables() -> None:
    error = ExecError(kind="ValueError", message="bad", traceback="Traceback ...\nValueError: bad\n")
    assert shown.error_text(result("error", error)) == "Traceback ...\nValueError: bad"
    assert shown.variables_text(result("error", error)) == ""


def test_of_a_cell_that_printed_nothing_what_it_set_is_told() -> None:
    assert shown.silence_text(result(changed=("total", "rows"))) == "(The cell printed nothing. It set total, rows.)"
    assert shown.silence_text(result()) == "(The cell printed nothing.)"
