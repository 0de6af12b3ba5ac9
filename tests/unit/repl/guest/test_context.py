"""A context stands for itself only as long as no cell has changed it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rlm.repl.guest.context import SHARED_FROM_BYTES, Given


def rows() -> dict[str, Any]:
    return {"rows": [{"n": 1, "tags": ["a", "b"]}, {"n": 2, "tags": []}], "title": "t"}


def swap(context: dict[str, Any]) -> None:
    context["rows"].reverse()


def put_in_the_place_of_what_was_freed(context: dict[str, Any]) -> None:
    del context["rows"][1]["tags"]
    context["rows"][1]["tags"] = []


def hold_itself(context: dict[str, Any]) -> None:
    context["rows"][0]["tags"].append(context)


CHANGES: list[Callable[[dict[str, Any]], Any]] = [
    swap,
    put_in_the_place_of_what_was_freed,
    hold_itself,
    lambda context: context.update(more=1),
    lambda context: context.pop("title"),
    lambda context: context.update(title="T"),
    lambda context: context.update({"title": context.pop("title"), "rows": context.pop("rows")}),
    lambda context: context["rows"].append({}),
    lambda context: context["rows"][0].update(n=3),
    lambda context: context["rows"][0]["tags"].sort(reverse=True),
    lambda context: context["rows"][1]["tags"].append("c"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_noticed(change: Callable[[dict[str, Any]], Any]) -> None:
    given = Given(rows(), SHARED_FROM_BYTES)
    assert given.stands_for(given.value)
    change(given.value)
    assert not given.stands_for(given.value)


@pytest.mark.parametrize("value", [rows(), [], [[]], "text", {"name": "content of a file"}])
def test_what_was_not_changed_stands_for_itself_and_for_nothing_else(value: Any) -> None:
    given = Given(value, SHARED_FROM_BYTES)
    assert given.stands_for(value)
    assert not given.stands_for([value])


def test_a_small_context_is_sent_as_it_is() -> None:
    assert not Given(rows(), SHARED_FROM_BYTES - 1).stands_for(rows())
