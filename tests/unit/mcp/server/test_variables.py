from __future__ import annotations

import math
from typing import Any

import pytest

from rlm.core.exceptions import ToolError
from rlm.mcp.server.variables import MAX_CHARS, setting, showing

VALUES: dict[str, Any] = {
    "n": None,
    "yes": True,
    "f": -1.5,
    "big": 2**70,
    "text": "a'b\"c\n\\ \u2028 \ud800",
    "deep": {"list": [1, [2, {"": []}]]},
}


def test_a_cell_sets_exactly_what_was_given() -> None:
    names: dict[str, Any] = {}
    exec(setting(VALUES), names)
    assert {name: names[name] for name in VALUES} == VALUES


def test_numbers_that_json_has_no_form_for_are_set_too() -> None:
    names: dict[str, Any] = {}
    exec(setting({"a": math.inf, "b": math.nan}), names)
    assert names["a"] == math.inf
    assert math.isnan(names["b"])


@pytest.mark.parametrize(
    "name", ["", "1a", "a b", "a;b", "for", "_hidden", "__import__", "context", "FINAL", "llm_query"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ToolError):
        setting({name: 1})


def test_only_names_are_shown() -> None:
    assert showing(["a", "b1"]) == ["a", "b1"]
    with pytest.raises(ToolError, match="can't name a variable"):
        showing(["a; import os"])


def test_too_much_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(ToolError, match="load_context"):
        setting({"a": "x" * MAX_CHARS})
    nested: Any = 1
    for _ in range(100):
        nested = [nested]
    with pytest.raises(ToolError, match="50 deep"):
        setting({"a": nested})
    with pytest.raises(ToolError, match="at least one"):
        setting({})
