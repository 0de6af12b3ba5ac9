"""Nested values: the same shape, keys that name secrets, sharing, cycles, depth."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import pytest

import rlm
from rlm.secrets import SecretMasker
from rlm.secrets.text_masking import TextMasker

KEY = "sk-" + "aB3dE6gH9jK2" * 4


def masked(value):
    return SecretMasker().mask_value(value)


def test_texts_are_masked_wherever_they_are() -> None:
    value = {"a": [KEY, (KEY, 1)], "b": {KEY}, "c": KEY.encode(), KEY: None}
    label = "[REDACTED_API_KEY]"
    assert masked(value) == {"a": [label, (label, 1)], "b": {label}, "c": label.encode(), label: None}


def test_a_key_may_make_its_value_a_secret() -> None:
    value = {"password": "hunter2", "pin_secret": 123456, "user": "eva", "tokens": 3, "backup_passwords": ["x"]}
    assert masked(value) == {**value, "password": "[REDACTED_PASSWORD]", "pin_secret": "[REDACTED_SECRET]"}


def test_a_list_under_such_a_key_holds_secrets() -> None:
    assert masked({"password": ["hunter2", "swordfish"]}) == {"password": ["[REDACTED_PASSWORD]"] * 2}


def test_all_that_a_name_in_the_plural_holds_is_secret() -> None:
    value = {"passwords": {"eva": "hunter2", "host": {"db": "swordfish9"}}, "tokens": {"the": 12}}
    label = "[REDACTED_PASSWORD]"
    assert masked(value)["passwords"]["eva"] == label
    assert masked(value)["tokens"] == value["tokens"]


def test_a_name_may_stand_beside_its_value() -> None:
    value = [{"name": "DB_PASSWORD", "value": "hunter2"}, {"password": {"value": "hunter2", "type": "string"}}]
    label = "[REDACTED_PASSWORD]"
    assert masked(value) == [{"name": "DB_PASSWORD", "value": label}, {"password": {"value": label, "type": "string"}}]


def test_kinds_of_containers_made_from_the_plain_ones() -> None:
    login = namedtuple("login", "user password")("eva", KEY)
    assert masked(OrderedDict(password="hunter2")) == {"password": "[REDACTED_PASSWORD]"}
    assert masked({b"password": b"hunter2"}) == {b"password": b"[REDACTED_PASSWORD]"}
    assert masked(login).password == "[REDACTED_API_KEY]"


def test_a_card_number_may_be_a_number() -> None:
    value = {"card": 4539148803436467, "sum": 4539148803436468}
    assert masked(value) == value
    assert rlm.mask_value(value, level="pii") == {**value, "card": "[REDACTED_CARD]"}


def test_placeholders_and_switches_stay() -> None:
    value = {"password": None, "token": "${TOKEN}", "secret": True, "api_key": ""}
    assert masked(value) == value


def test_what_is_shared_is_shared_in_the_copy() -> None:
    part = [KEY]
    copy = masked({"a": part, "b": part})
    assert copy["a"] is copy["b"]
    assert part == [KEY]


def test_cycles_are_kept() -> None:
    loop: dict[str, object] = {"password": "hunter2"}
    loop["self"] = [loop]
    copy = masked(loop)
    assert copy["password"] == "[REDACTED_PASSWORD]"
    assert copy["self"][0] is copy


def test_depth_is_no_limit() -> None:
    value: list[object] = [KEY]
    for _ in range(50_000):
        value = [value]
    copy = masked(value)
    for _ in range(50_000):
        copy = copy[0]
    assert copy == ["[REDACTED_API_KEY]"]


def test_keys_that_become_one_label_stay_apart() -> None:
    assert masked({KEY: 1, KEY[::-1] + KEY: 2, KEY + "x": 3}) == {
        "[REDACTED_API_KEY]": 1,
        KEY[::-1] + KEY: 2,
        "[REDACTED_API_KEY] 2": 3,
    }


def test_other_objects_are_left_as_they_are() -> None:
    thing = object()
    assert rlm.mask_value([thing, 1.5, None])[0] is thing


def test_masking_a_value_twice_changes_nothing() -> None:
    once = masked({"password": "hunter2", KEY: [KEY, {"api_key": "sk_live_abc123xyz"}]})
    assert masked(once) == once


class Counting(SecretMasker):
    """Counts how often it searches."""

    searches = 0

    def find(self, text: str):
        Counting.searches += 1
        return TextMasker.find(self, text)


@pytest.fixture
def counting(monkeypatch):
    monkeypatch.setattr(Counting, "searches", 0)
    return Counting()


def test_many_short_texts_are_searched_together(counting) -> None:
    value = {f"name {number}": {"text": f"value {number}", "number": number} for number in range(5_000)}
    assert counting.mask_value(value) == value
    assert counting.searches < 50


def test_a_secret_among_many_texts_costs_no_search_of_the_others(counting) -> None:
    value = [f"text {number}" for number in range(5_000)]
    value[2_500] = KEY
    assert counting.mask_value(value)[2_500] == "[REDACTED_API_KEY]"
    assert counting.searches < 50


def test_a_long_text_that_is_masked_again_is_not_searched_again(counting) -> None:
    text = f"line {KEY}\n" * 5_000
    assert counting.mask(text) == "line [REDACTED_API_KEY]\n" * 5_000
    once = Counting.searches
    assert counting.mask(text) == counting.mask_value([text])[0]
    assert Counting.searches == once
