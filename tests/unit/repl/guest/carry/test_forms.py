"""Values that a session carries come back as they were, or are refused with a reason."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm.repl.guest.carry.forms import CannotCarry, from_text, to_text
from rlm.repl.guest.wire import WireError, decode_value

EXACT = [
    None, True, 0, -(2**70), 1.5, "text", "\ud800", b"\0raw", bytearray(b"b"), 2 + 3j, range(1, 9, 2),
    [], [1, [2]], (), (1, (2,)), {1, 2}, frozenset({"a"}), deque([1, 2]),
    {}, {"a": 1}, {"$tuple": [1]}, {1: "one", (2, 3): None}, {"\ud800": 1}, Counter("aab"), OrderedDict(b=1, a=2),
    defaultdict(list, {"k": [1]}), defaultdict(None, {"k": 1}),
    date(2026, 11, 21), datetime(2026, 11, 21, 9, 30, tzinfo=UTC), time(9, 30), timedelta(days=-1, microseconds=3),
    Decimal("1.10"),
]  # fmt: skip
REFUSED = [
    (object(), "type object"),
    (lambda: 1, "function"),
    (re.compile("a"), "Pattern"),
    ([object()], "object"),
    (deque([1], maxlen=2), "maxlen"),
    (defaultdict(lambda: 1), "factory"),
    (datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")), "zone"),
    (type("MyList", (list,), {})([1]), "MyList"),
]
HOSTILE = [
    "", "[", "{\"$nothing\":1}", '{"$tuple":[1],"a":2}', '{"a":1,"$map":[]}', '{"$map":[[[1],2]]}', '{"$date":"x"}',
    '{"$defaultdict":["eval",[]]}', '{"$complex":["a"]}', '{"$decimal":[]}', '{"$set":[[1]]}', '{"$timedelta":[1e300]}',
    "[" * 500 + "]" * 500, '{"$counter":5}',
]  # fmt: skip

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("value", EXACT, ids=repr)
def test_a_value_comes_back_as_it_was(value):
    back = from_text(to_text(value))
    assert (type(back), back) == (type(value), value)


def test_a_factory_works_again_and_nan_stays():
    assert from_text(to_text(defaultdict(int)))["new"] == 0
    assert math.isnan(from_text(to_text([math.nan]))[0])


@given(values)
def test_nested_values_come_back(value):
    assert repr(from_text(to_text(value))) == repr(value)


@pytest.mark.parametrize(("value", "why"), REFUSED)
def test_what_would_come_back_otherwise_is_refused(value, why):
    with pytest.raises(CannotCarry, match=why):
        to_text(value)


def test_circles_and_depth_are_refused():
    circle = []
    circle.append(circle)
    with pytest.raises(CannotCarry, match="contains itself"):
        to_text(circle)
    deep = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(CannotCarry, match="nested"):
        to_text(deep)


def test_what_stands_in_many_places_is_counted_and_looked_at_once():
    bomb = shared = (1,)
    for _ in range(90):
        bomb = [bomb, bomb]
    for value in (
        bomb,
        [shared, bomb],
        ["x" * 1000] * 1000,
        ("x" * 1000,) * 1000,
        {"a": [range(9)] * 1000},
        "x" * 2000,
    ):
        with pytest.raises(CannotCarry, match="too large"):
            to_text(value, 1990)
    assert from_text(to_text([[shared] * 3, {"a": shared}], 200)) == [[shared] * 3, {"a": shared}]


@pytest.mark.parametrize("mark", ["$set", "$frozenset", "$map", "$counter"])
def test_keys_made_to_share_a_hash_are_refused(mark):
    keys = [{"$int": str(number * (2**61 - 1))} for number in range(100)]
    body = keys if mark in ("$set", "$frozenset") else [[key, 1] for key in keys]
    with pytest.raises(WireError, match="one hash"):
        from_text(json.dumps({mark: body}))
    with pytest.raises(WireError, match="one hash"):
        decode_value({"$map": [[key, 1] for key in keys]})


class Meta(type):
    __module__ = property(lambda _self: 1 / 0)


ODD = [Meta("Odd", (), {}), type("Odd", (), {"__module__": 5}), type("Odd", (), {"__qualname__": "\ud800"})]


@pytest.mark.parametrize("kind", ODD, ids=("its metaclass", "no text", "a surrogate"))
def test_a_class_that_lies_about_its_name_is_refused_as_any_other(kind):
    with pytest.raises(CannotCarry, match="a value of type") as caught:
        to_text(kind())
    assert str(caught.value).isascii()


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:30])
def test_text_that_is_no_form_is_refused(text):
    with pytest.raises(WireError):
        from_text(text)
