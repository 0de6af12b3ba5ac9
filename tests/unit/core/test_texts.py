"""Texts are changed wherever they are, and nothing is copied where none changes."""

import pytest

from rlm.core.events import ExecEnd, ModelEnd, ToolStart
from rlm.core.texts import change_texts, is_plain
from rlm.core.types import ExecError, Final, ToolCall


def hide(text):
    return text.replace("hunter2", "***")


def test_what_has_no_such_text_is_the_same_object():
    body = ModelEnd(text="fine", tool_calls=[ToolCall(id="1", name="f", arguments="{}")])
    assert change_texts(body, hide) is body


def test_texts_are_changed_in_structs_dataclasses_lists_and_keys():
    error = ExecError(kind="E", message="hunter2", traceback="")
    final = Final(value={"hunter2": ["a hunter2"]}, text="x")
    changed = change_texts(ExecEnd(status="ok", output_chars=0, duration_s=0.0, error=error, final=final), hide)
    assert (changed.error.message, changed.final.value) == ("***", {"***": ["a ***"]})
    assert final.value == {"hunter2": ["a hunter2"]}


def test_names_that_the_runtime_gives_are_no_texts():
    body = ToolStart(name="f", arguments={"a": "hunter2"}, caller="model", key="hunter2")
    changed = change_texts(body, hide)
    assert (changed.key, changed.arguments) == ("hunter2", {"a": "***"})


@pytest.mark.parametrize("value", [b"x", float("nan"), 1 << 70, {1: 2}, [object()]])
def test_what_json_does_not_bring_back_is_not_plain(value):
    assert not is_plain({"deep": [value]})
    assert is_plain({"deep": [1, -2.5, None, True, "text"]})
