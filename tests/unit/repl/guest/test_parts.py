"""What a cell is told that calls a method which texts don't have."""

from __future__ import annotations

import pytest

from rlm.repl.guest import errors, parts
from rlm.repl.guest.awaiting import Forms


@pytest.mark.parametrize(("method", "instead"), [("chunks", "chunks(text"), ("search", "re.finditer"), ("nope", "")])
def test_a_method_that_a_text_lacks_is_answered_with_what_does_it(method: str, instead: str) -> None:
    try:
        getattr("text", method)
    except AttributeError as error:
        said = parts.advised(errors.describe(error))
    assert said["message"].partition("; ")[2].startswith(instead)
    assert ("; " in said["message"]) is bool(instead)
    assert (f"[{instead}" in said["traceback"]) is bool(instead)


@pytest.mark.parametrize(
    ("written", "meant"), [("final", "FINAL"), ("Llm_Query", "llm_query"), ("finale", ""), ("llm_query", "")]
)
def test_a_name_in_other_cases_is_answered_with_the_right_one(written: str, meant: str) -> None:
    try:
        eval(written, {})
    except NameError as error:
        said = parts.advised(errors.describe(error))
    assert said["message"].partition("; ")[2] == (f"its name is {meant}" if meant else "")


def test_names_of_texts_are_not_taken_for_the_texts() -> None:
    asked: list[list[str]] = []

    def batched(prompts: list[str]) -> list[str]:
        asked.append(prompts)
        return prompts

    functions = {"llm_query": len, "llm_query_batched": batched}
    data = {"a.py": "def f(): ...", "b.py": "x = 1"}
    llm_map = parts.functions_over_parts(functions, Forms(None), data)["llm_map"]
    with pytest.raises(ValueError, match="names of texts in context"):
        llm_map("Which defines f?", list(data))
    assert llm_map("Which?", ["a.py", "something else"]) == asked[-1]
    assert "def f()" in llm_map("Which?", data)[0]
