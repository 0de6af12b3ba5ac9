"""What a page shows, as values: a tree of elements, which `assets/markup.js` turns into the page's nodes.

An element is a list `[tag.classes, attributes, *children]`. Its texts become text nodes, its tags and attributes are of
a fixed few, and its only links are places: nothing that is recorded can become markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm_visualizer.addresses import Place

Element: TypeAlias = "list[Any]"
Child: TypeAlias = "Element | str | None"


def h(what: str, *children: Child, **attributes: Any) -> Element:
    """An element: `h("div.card", "text", h("b", "more"))`.

    `go`: the place that a click leads to. `act`: what a click tells the page. `keys`: the keys that click it, with
    spaces between. `bar`: a share from 0 to 1, drawn by its class. Other attributes are those that the script knows.
    """
    place: Place | None = attributes.pop("go", None)
    if place is not None:
        attributes |= {"go": place.params(), "href": place.href()}
    kept = {name.rstrip("_"): value for name, value in attributes.items() if value not in (None, "", False)}
    return [what, kept, *(child for child in children if child is not None)]


def link(text: str, place: Place, what: str = "a", **attributes: Any) -> Element:
    """A link to a place."""
    return h(what, text, go=place, **attributes)


def texts_of(element: Child) -> str:
    """All the text of an element, for tests and for titles."""
    if element is None or isinstance(element, str):
        return element or ""
    return " ".join(filter(None, (texts_of(child) for child in element[2:])))


def table(heads: Iterable[Child], rows: Iterable[Element], what: str = "table.list") -> Element:
    """A table; each row is a `tr`."""
    head = h("tr", *(each if isinstance(each, list) and each[0].startswith("th") else h("th", each) for each in heads))
    return h("div.scroll", h(what, h("thead", head), h("tbody", *rows)))


def badge(text: str, tone: str = "") -> Element:
    """A word in a coloured field; the tone is a status or a kind."""
    return h(f"span.badge.tone-{tone or text}", text)


def facts(pairs: Iterable[tuple[str, str, str]]) -> Element:
    """Key figures: label, value, and a small remark."""
    tiles = (
        h(
            "div.fact",
            h("div.fact-label", label),
            h("div.fact-value", value),
            h("div.fact-note", note) if note else None,
        )
        for label, value, note in pairs
    )
    return h("div.facts", *tiles)


def notice(title: str, *lines: str, tone: str = "quiet") -> Element:
    """A message that is shown in place of content."""
    return h(f"div.notice.tone-{tone}", h("div.notice-title", title), *(h("div", line) for line in lines))


def pager(place: Place, total: int, size: int) -> Element | None:
    """Links to the previous and next page of a list; None if it has one page."""
    if total <= size:
        return None
    first, last = place.page * size + 1, min((place.page + 1) * size, total)
    before = place.to(page=place.page - 1) if place.page else None
    after = place.to(page=place.page + 1) if last < total else None
    return h(
        "div.pager",
        h("a.button" if before else "span.button.off", "‹ Previous", go=before),
        h("span.muted", f"{first:,}–{last:,} of {total:,}"),
        h("a.button" if after else "span.button.off", "Next ›", go=after),
    )
