"""What a cell is told that calls a method which texts don't have."""

from __future__ import annotations

import pytest

from rlm.repl.guest import errors, parts


@pytest.mark.parametrize(("method", "instead"), [("chunks", "chunks(text"), ("search", "re.finditer"), ("nope", "")])
def test_a_method_that_a_text_lacks_is_answered_with_what_does_it(method: str, instead: str) -> None:
    try:
        getattr("text", method)
    except AttributeError as error:
        said = parts.advised(errors.describe(error))
    assert said["message"].partition("; ")[2].startswith(instead)
    assert ("; " in said["message"]) is bool(instead)
    assert (f"[{instead}" in said["traceback"]) is bool(instead)
