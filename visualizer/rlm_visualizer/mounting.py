"""Puts elements on the page through Streamlit components, and turns clicks into places.

No other module knows how components are mounted. Scripts and styles are sent inline: nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from rlm.core.exceptions import RLMError
from rlm_visualizer.addresses import Place
from rlm_visualizer.elements import notice
from rlm_visualizer.formats import line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rlm_visualizer.elements import Element

ASSETS = Path(__file__).with_name("assets")
ERROR_LINE_CHARS = 400


@cache
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def _component(name: str, script: str, style: str = "") -> Any:
    """The component of that name; its styles are the page's, since there is one design."""
    return st.components.v2.component(
        f"rlm_{name}", js=_asset(script), css=_asset(style) if style else None, isolate_styles=False
    )


def here() -> Place:
    """The place that the browser's address names."""
    return Place.parse(st.query_params.to_dict())


def go(place: Place) -> None:
    """Make `place` the browser's address; the page follows when the script runs next."""
    st.query_params.from_dict(place.params())


def chrome(tree: Element, place: Place, title: str) -> None:
    """Mount the head of the page: it brings the styles, the keys and the title."""
    data = {"tree": tree, "place": place.href(), "title": title}
    _component("chrome", "markup.js", "page.css")(key="rlm-chrome", data=data, on_go_change=_follow("rlm-chrome"))


def show(tree: Element, key: str, on_act: Callable[[str], None] | None = None) -> None:
    """Mount elements; a click on one with `act` calls `on_act` before the page is drawn again."""
    mounted = f"rlm-{key}"

    def act() -> None:
        value = _value(mounted, "act")
        if on_act is not None and isinstance(value, str):
            on_act(value)

    _component("markup", "stub.js")(key=mounted, data={"tree": tree}, on_go_change=_follow(mounted), on_act_change=act)


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show an error of the package as a notice, so that a page never breaks over a record.

    Every fragment needs this block: Streamlit shows an exception that leaves it.
    """
    try:
        yield
    except RLMError as error:
        first, *rest = (line(text, ERROR_LINE_CHARS) for text in str(error).splitlines() or ["it can't be shown"])
        show(notice(first, *rest, tone="failed"), "refused")


def draw(columns: bytes, key: str) -> None:
    """Mount the timeline's canvas over packed columns."""
    _component("timeline", "timeline.js")(key=f"rlm-{key}", data=columns, on_go_change=_follow(f"rlm-{key}"))


def _follow(key: str) -> Callable[[], None]:
    def follow() -> None:
        value = _value(key, "go")
        if isinstance(value, Mapping):
            go(Place.parse(value))

    return follow


def _value(key: str, name: str) -> Any:
    """The value that the component of that key has just sent."""
    return getattr(st.session_state.get(key), name, None)
