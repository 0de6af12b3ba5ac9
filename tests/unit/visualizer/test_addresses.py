from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rlm_visualizer.addresses import Place, of_run


def test_defaults_are_left_out() -> None:
    assert Place().params() == {}
    assert of_run("ab", "budget", step=3).params() == {"run": "ab", "view": "budget", "step": "3"}
    assert of_run("ab", step=3).params() == {"run": "ab", "step": "3"}
    assert Place(status=("running", "failed"), min_cost=0.5).href() == "?status=running%2Cfailed&min_cost=0.5"


@given(st.dictionaries(st.sampled_from(list(Place.__slots__)), st.text(max_size=40)))
def test_any_address_is_some_place_and_comes_back(params: dict[str, str]) -> None:
    place = Place.parse(params)
    assert Place.parse(dict(parse_qsl(place.href()[1:], errors="surrogatepass"))) == place


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("step", "-1", 0),
        ("step", "9" * 50, 10**9),
        ("step", "9" * 5_000, 0),
        ("step", "²", 0),
        ("view", "../admin", ""),
        ("view", "steps", ""),
        ("view", "overview", ""),
        ("pick", "worst", ""),
        ("span", "zz", ""),
        ("min_cost", "nan", 0.0),
        ("min_cost", "inf", 0.0),
        ("status", "failed,unknown,running", ("running", "failed")),
        ("q", "x" * 1_000, "x" * 200),
    ],
)
def test_what_makes_no_sense_is_passed_over(name: str, text: str, read: object) -> None:
    assert getattr(Place.parse({name: text}), name) == read


def test_a_change_begins_the_list_anew() -> None:
    assert Place(q="a", page=4).to(q="b") == Place(q="b")
    assert Place(q="a").to(page=2).page == 2
