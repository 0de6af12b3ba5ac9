"""The quick look over the texts of a state masks what `mask_value` masks: every line of the corpus, wherever it is."""

from __future__ import annotations

import pytest

from rlm.core.exceptions import StoreError
from rlm.repl.guest.carry.forms import from_text, to_text
from rlm.secrets import masker
from rlm.sessions.store import Definition, State
from rlm.sessions.values import _is_clean, masked_state, value_of, values_of
from tests.support.labelled import read

MASKER = masker("pii")
LINES = [each.text for name in ("secrets", "pii", "lookalikes") for each in read(name)]
SHAPES = [
    lambda text: text,
    lambda text: ["before", text, "after"],
    lambda text: {"field": {"text": text}},
    lambda text: {text: 1},
    lambda text: (text, b"\0", {1: text}),
    lambda text: {"password": text},
]


def kept(values):
    return masked_state(State(values={name: to_text(value) for name, value in values.items()}), MASKER)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_value_masks_is_masked_in_its_text(shape):
    for line in LINES:
        value = shape(line)
        state = kept({"found": value})
        exact = MASKER.mask_value({"found": value})["found"]
        assert values_of(state) == {"found": exact}, line
        assert state.masked == (["found"] if exact != value else []), line


def test_all_lines_at_once_are_masked_as_each_alone():
    assert values_of(kept({"found": LINES}))["found"] == [MASKER.mask(line) for line in LINES]


def test_lines_that_have_nothing_pass_the_quick_look():
    clean = [line for line in LINES if MASKER.mask(line) == line and "[REDACTED" not in line]
    quick = [line for line in clean if _is_clean("found", to_text([line, {"a": line}]), MASKER)]
    assert len(quick) > 0.98 * len(clean)


@pytest.mark.parametrize("name", ["password", "db_password"])
def test_the_name_of_a_variable_counts(name):
    assert kept({name: "hunter2x!9"}).masked == [name]


def test_source_is_masked_too():
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    state = masked_state(State(definitions=[Definition(names=["f"], source=f"f = lambda: '{secret}'")]), MASKER)
    assert secret not in state.definitions[0].source
    assert state.masked == ["f"]


@pytest.mark.parametrize(
    "text", ["", "{", '"\0', '"\\', '{"$nothing":1}', "[" * 300, '{"$date":"' + "x" * 10**6 + '"}']
)
def test_text_that_is_none_stops_nothing(text):
    state = masked_state(State(values={"a": text, "b": "1"}), MASKER)
    assert from_text(state.values["b"]) == 1
    with pytest.raises(StoreError, match="'a'") as caught:
        value_of("a", text)
    assert len(str(caught.value)) < 500
