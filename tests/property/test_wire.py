"""Values survive the wire, and frames survive being cut anywhere."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm.repl.channel import FrameParser
from rlm.repl.guest.shorten import short_repr
from rlm.repl.guest.wire import (
    MAX_DEPTH,
    MAX_FRAME_BYTES,
    WireError,
    as_text,
    decode_value,
    encode_value,
    pack,
    unpack,
)

texts = st.text(alphabet=st.characters())  # lone surrogates included
atoms = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.binary()
keys = texts | st.integers() | st.none() | st.tuples(st.integers(), texts)
values = st.recursive(
    atoms,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=30,
)
json_forms = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["a", "$map", "$int", "$bytes", "$str", "$float", "$text"]), inner, max_size=2
        )
    ),
    max_leaves=20,
)


def over_the_wire(value: Any) -> Any:
    return decode_value(unpack(pack({"v": encode_value(value)})[5:])["v"])


@given(values)
def test_a_value_comes_back_the_same(value: Any) -> None:
    back = over_the_wire(value)
    assert back == value
    assert repr(back) == repr(value)  # 1 is not True, and not 1.0


@given(st.lists(st.floats()))
def test_floats_keep_their_kind(numbers: list[float]) -> None:
    back = over_the_wire(numbers)
    assert [math.isnan(n) for n in back] == [math.isnan(n) for n in numbers]


@given(json_forms)
def test_any_json_decodes_or_is_a_wire_error(form: Any) -> None:
    with contextlib.suppress(WireError):  # any other exception fails
        decode_value(form, special={"$text": str})


@given(st.lists(st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers()), max_size=6), st.data())
def test_frames_survive_any_cut(messages: list[dict[str, int]], data: st.DataObject) -> None:
    stream = b"".join(pack(message) for message in messages)
    parser, received = FrameParser(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        received += [unpack(payload) for payload in parser.feed(stream[:size])]
        stream = stream[size:]
    assert received == messages
    assert not parser.has_begun


@given(st.integers(MAX_FRAME_BYTES + 1, 2**32 - 1))
def test_a_length_above_the_cap_is_refused_before_anything_comes(length: int) -> None:
    with pytest.raises(WireError):
        list(FrameParser().feed(length.to_bytes(4, "big") + b"\0"))


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_a_wire_error(received: bytes) -> None:
    with contextlib.suppress(WireError):  # any other exception fails
        for payload in FrameParser().feed(received):
            unpack(payload)


@given(st.integers(MAX_DEPTH + 1, MAX_DEPTH * 3))
def test_nesting_beyond_the_limit_is_cut_or_refused(depth: int) -> None:
    nested: Any = "core"
    for _ in range(depth):
        nested = [nested]
    with pytest.raises(TypeError, match="deep"):
        encode_value(nested)
    assert decode_value(encode_value(nested, other=lambda _part: as_text("cut")), special={"$text": str})
    with pytest.raises(WireError, match="deep"):
        decode_value(nested)


@given(values.filter(lambda value: "'...'" not in repr(value)), st.integers(10, 500))
def test_a_short_repr_is_the_beginning_of_the_whole(value: Any, limit: int) -> None:
    whole, short = repr(value), short_repr(value, limit)
    assert short == whole or (len(whole) > limit and short.startswith(whole[: limit - 1]))
