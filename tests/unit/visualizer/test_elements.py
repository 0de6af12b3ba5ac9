from __future__ import annotations

import re

from rlm_visualizer.addresses import Place
from rlm_visualizer.elements import badge, h, pager, texts_of
from rlm_visualizer.tree import PAGE, Unfolded

from tests.architecture.sources import ROOT


def test_a_link_is_a_place_and_nothing_else() -> None:
    made = h("a", "text", None, go=Place(run="ab"), title="")
    assert made == ["a", {"go": {"run": "ab"}, "href": "?run=ab"}, "text"]


def test_texts_are_found_at_any_depth() -> None:
    assert texts_of(h("div", "one", h("p", badge("failed")), None)) == "one failed"


def test_a_list_of_one_page_has_no_pager() -> None:
    assert pager(Place(), 50, 50) is None
    assert "51–100 of 120" in texts_of(pager(Place(page=1), 120, 50))


def test_nodes_unfold_by_pages_and_fold_again() -> None:
    unfolded = Unfolded()
    for said in ("unfold a", "more a", "unfold b", "fold b"):
        unfolded.take(said)
    assert unfolded.shown == {"a": PAGE}
    assert [unfolded.is_open(node, by_itself=False) for node in "ab"] == [True, False]


def test_what_is_selected_anew_is_unfolded_down_to_though_it_was_folded() -> None:
    unfolded = Unfolded()
    unfolded.select("x")
    unfolded.take("fold a")
    unfolded.select("x")
    assert not unfolded.is_open("a", by_itself=True)
    unfolded.select("y")
    assert unfolded.is_open("a", by_itself=True)


def test_nothing_is_fetched_and_nothing_is_markup() -> None:
    from rlm_visualizer import mounting  # here, for streamlit takes long to load

    for path in mounting.ASSETS.glob("*.js"):
        script = path.read_text(encoding="utf-8")
        found = re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|fetch\(|import\(", script)
        assert (path.name, found) == (path.name, [])
    for path in (ROOT / "visualizer").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert re.findall(r"unsafe_allow|st\.(?:markdown|html|write|iframe)\b", source) == []
