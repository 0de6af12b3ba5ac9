"""The pages of the visualizer in a real browser, over real runs: what a reader does, and what hostile records don't."""

from __future__ import annotations

import http.client
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from rlm.core.events import (
    CompletionEnd,
    CompletionStart,
    Event,
    ExecEnd,
    ExecOutput,
    ExecStart,
    RunStart,
    TurnStart,
    encode,
)
from rlm.core.notes import ContextNote
from rlm.core.types import RunUsage
from rlm.trajectory.writer import TrajectoryWriter
from tests.support import node_tools
from tests.support.required import needs, require
from tests.support.sample_runs import damage, record_all

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

    from rlm.core.events import Body
    from tests.support.browser import Viewer

pytestmark = needs("browser")

LIVE = "1f" * 16


@dataclass(frozen=True)
class Site:
    """A server over a folder of runs, and a browser to look at it."""

    folder: Path
    runs: dict[str, str]
    url: str
    profile: BrowserContext

    def tab(self, *, dark: bool = False) -> Viewer:
        from tests.support.browser import Viewer

        return Viewer.of(self.profile, self.url, dark=dark)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require("browser")
    from tests.support.browser import browsing, serving

    folder = tmp_path_factory.mktemp("logs")
    runs = record_all(folder)
    runs["damaged"] = damage(folder, runs["review"])
    with serving(folder) as (url, _), browsing() as profile:
        yield Site(folder, runs, url, profile)


@pytest.fixture
def tab(site: Site) -> Iterator[Viewer]:
    viewer = site.tab()
    yield viewer
    viewer.check()
    viewer.close()


def at(site: Site, name: str, view: str = "run", **rest: object) -> str:
    """The address of a view of a run."""
    return f"?run={site.runs[name]}&view={view}" + "".join(f"&{key}={value}" for key, value in rest.items())


PAGES = {
    "runs": ("", "", ".rlm-runs tbody tr"),
    "run": ("review", "run", ".rlm-tree .rlm-node"),
    "step": ("review", "run&step=3", ".rlm-message"),
    "timeline": ("review", "timeline&at=30", "canvas[data-draw-ms]"),
    "flame": ("review", "timeline&layout=flame&colour=cost", "canvas[data-draw-ms]"),
    "budget": ("review", "budget", ".rlm-chart"),
    "search": ("review", "search&q=charged", ".rlm-hit"),
    "compare": ("review", "compare&other={other}", ".rlm-pair"),
    "limit": ("limit", "run", ".rlm-remark"),
    "hostile": ("hostile", "run&step=1", ".rlm-sub-call"),
    "damaged": ("damaged", "run", ".rlm-problem"),
}


DARK = ("run", "step", "timeline", "compare")
"""Those that are opened in the dark; then the light goes on."""


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_whole_and_asks_nothing_of_other_hosts(site: Site, name: str) -> None:
    run, view, expects = PAGES[name]
    viewer = site.tab(dark=name in DARK)
    viewer.open(at(site, run, view.format(**site.runs)) if run else "", expects)
    if name in DARK:
        viewer.picture(f"{name}-dark")
        viewer.page.emulate_media(color_scheme="light")
    viewer.picture(f"{name}-light")
    viewer.check()
    viewer.close()


@needs("axe")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast_labels_and_structure_pass_axe(site: Site, dark: bool) -> None:
    axe = node_tools.find("axe")
    assert axe is not None
    viewer = site.tab(dark=dark)
    for name in ("runs", "step", "limit", "compare"):
        run, view, expects = PAGES[name]
        page = viewer.open(at(site, run, view.format(**site.runs)) if run else "", expects)
        page.locator("[data-test-script-state=notRunning]").wait_for()
        page.evaluate(axe.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == [], name
    viewer.check()
    viewer.close()


def test_a_run_is_found_by_filters_and_opened(site: Site, tab: Viewer) -> None:
    page = tab.open("", ".rlm-runs tbody tr")
    assert page.locator(".rlm-runs tbody tr").count() == len(site.runs)
    page.get_by_placeholder("Prompt, answer, error or id").fill("cheaply")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("q=cheaply"))
    page.wait_for_function("document.querySelectorAll('.rlm-runs tbody tr').length === 1")
    page.locator(".rlm-runs tbody tr").click()
    page.wait_for_url(re.compile(site.runs["limit"]))
    page.get_by_text("reached token_budget").first.wait_for()


def test_steps_are_a_key_away_and_each_has_an_address(site: Site, tab: Viewer) -> None:
    page = tab.open(at(site, "review", "steps", step=1), ".rlm-walk")
    for key, number in (("j", 2), ("ArrowRight", 3), ("k", 2)):
        page.keyboard.press(key)
        page.get_by_text(f"Step {number} of 12").wait_for()
        assert f"step={number}" in page.url
    page.keyboard.press("e")
    page.get_by_text("failure 1 of 1").wait_for()
    page.get_by_text("TypeError: string indices").first.wait_for()
    page.go_back()
    page.get_by_text("Step 2 of 12").wait_for()


def test_no_press_of_a_key_is_lost(site: Site, tab: Viewer) -> None:
    page = tab.open(at(site, "review", step=1), ".rlm-walk")
    page.evaluate(
        "for (const key of 'jjjjjk') document.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}))"
    )
    page.get_by_text("Step 5 of 12").wait_for()


def test_a_link_opens_the_tree_down_to_its_call(site: Site, tab: Viewer) -> None:
    page = tab.open(at(site, "review"), ".rlm-tree .rlm-node")
    page.locator(".rlm-node", has_text="turn 3").locator("button").click()
    page.locator(".rlm-node", has_text="cell 3").locator("button").click()
    page.get_by_text("48 × llm_query").click()
    page.get_by_text("25 more of 40").click()
    page.wait_for_function("document.querySelectorAll('.rlm-node .rlm-kind-model').length >= 33")
    page.locator(".rlm-node .rlm-kind-model").nth(30).click()
    page.locator(".rlm-node.rlm-on", has_text="llm_query").wait_for()
    tab.open(page.url.removeprefix(site.url), ".rlm-node.rlm-on")
    page.get_by_text("What the model saw").wait_for()
    assert page.locator(".rlm-node.rlm-on").is_visible()


def test_a_found_text_leads_to_its_step(site: Site, tab: Viewer) -> None:
    page = tab.open("?view=search", ".rlm-notice")
    page.get_by_label("Search").fill("by_day")
    page.keyboard.press("Enter")
    page.locator(".rlm-hit", has_text="exec.start").first.click()
    page.get_by_text("Step 4 of 12").wait_for()


def test_a_span_of_the_canvas_can_be_picked(site: Site, tab: Viewer) -> None:
    page = tab.open(at(site, "review", "timeline"), "canvas[data-draw-ms]")
    page.locator("canvas").click(position={"x": 200, "y": 35})
    page.wait_for_url(re.compile(r"at=1\b"))
    page.get_by_text("Answer (completed)").wait_for()
    page.locator("canvas").hover(position={"x": 200, "y": 35})
    assert "completion" in page.locator(".rlm-tip").inner_text()


def test_two_runs_stand_side_by_side(site: Site, tab: Viewer) -> None:
    page = tab.open(at(site, "review", "compare"), ".rlm-hit")
    page.locator(".rlm-hit", has_text=site.runs["other"][:8]).click()
    page.locator(".rlm-pair").first.wait_for()
    # The cells of three children come in any order, so one of them may stand where its twin does not.
    assert re.search(r"\b1[01] cells the same", page.locator(".rlm-compare").inner_text())
    assert page.locator("details.rlm-pair[open]").count() >= 2


class Live:
    """A run that a test writes as it likes; as long as the writer is open it is in progress."""

    def __init__(self, folder: Path) -> None:
        self._writer, self._seq = TrajectoryWriter(folder, LIVE), 0

    def write(self, span: str, parent: str | None, body: Body) -> None:
        event = Event(seq=self._seq, at=time.time(), run=LIVE, span=span, parent=parent, type=body.TYPE, body=body)
        self._writer.write(event, encode(event))
        self._seq += 1

    def close(self) -> None:
        self._writer.close()


def test_a_run_in_progress_is_followed_to_its_end(site: Site, tab: Viewer) -> None:
    root, turn, cell = "a" * 16, "b" * 16, "c" * 16
    live = Live(site.folder)
    live.write(
        root, None, RunStart(version=1, rlm_version="0", model="m", sub_model="m", environment="local", budget={})
    )
    context = ContextNote(kind="none")
    live.write(root, None, CompletionStart(depth=0, prompt="go on", model="m", dialect="code", context=context))
    live.write(turn, root, TurnStart(turn=1))
    page = tab.open(f"?run={LIVE}&view=steps", ".rlm-walk")
    live.write(cell, turn, ExecStart(cell=1, code="print('seen')"))
    live.write(cell, turn, ExecOutput(text="as it happens"))
    page.get_by_text("as it happens").wait_for()
    page.keyboard.press("r")
    page.get_by_role("heading", name="This run").wait_for()
    live.write(cell, turn, ExecEnd(status="ok", output_chars=4, duration_s=0.1))
    live.write(root, None, CompletionEnd(status="completed", response="done", duration_s=1.0, usage=RunUsage()))
    live.close()
    page.locator(".rlm-where .rlm-tone-completed").wait_for()


def test_hostile_text_is_shown_and_does_nothing(site: Site, tab: Viewer) -> None:
    for view in ("run", "run&step=1", "search&q=script", "compare&other=" + site.runs["review"]):
        page = tab.open(at(site, "hostile", view), ".rlm-root section")
        page.get_by_text("<script>document.title").first.wait_for()
        assert page.title() != "owned"
        assert page.locator("[src='x'], [href^='javascript:'], [href*='invalid'], [src*='invalid']").count() == 0
        shown = page.locator("body").inner_text()
        assert not set("\x1b\x00\u202e\u2066") & set(shown)


def test_a_damaged_record_is_shown_as_far_as_it_goes(site: Site, tab: Viewer) -> None:
    page = tab.open(at(site, "damaged"), ".rlm-problem")
    assert "lines are not events and skipped" in page.locator(".rlm-problems").inner_text()
    assert "the last line is unfinished" in page.locator(".rlm-problems").inner_text()
    tab.open(at(site, "damaged", step=3), ".rlm-sub-call")
    tab.open(at(site, "damaged", "timeline"), "canvas[data-draw-ms]")


def test_addresses_that_make_no_sense_break_nothing(site: Site, tab: Viewer) -> None:
    """Others are visited without a browser, in `unit/visualizer/test_app.py`."""
    page = tab.open("?run=%00", ".rlm-notice")
    assert "no run in" in page.locator(".rlm-notice").inner_text()
    tab.open(f"?run={site.runs['review']}&view=timeline&at=999999", "canvas[data-draw-ms]")


@pytest.mark.parametrize("head", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
def test_other_sites_cannot_read_along(site: Site, head: dict[str, str]) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(site.url).port or 0, timeout=20)
    connection.request("GET", "/_stcore/stream", headers={**upgrade, **key, **head})
    assert connection.getresponse().status == 403
    connection.close()


def test_a_signal_ends_it_though_nobody_reads_what_it_prints(tmp_path: Path) -> None:
    from tests.support.browser import serving

    reading, writing = os.pipe()
    with serving(tmp_path, stdout=writing) as (_, process):
        os.close(writing)
        os.close(reading)
        process.terminate()
        assert process.wait(timeout=30) == 0


def _written_page(folder: Path, run: str, into: Path) -> str:
    """The address of the page that `rlm logs export --format html` makes of a run."""
    from rlm.cli.commands.logs_export import ExportOptions, export

    export([run], ExportOptions(kind="html", output=str(into)), str(folder))
    return into.as_uri()


@pytest.mark.parametrize("name", ["review", "limit", "damaged", "hostile"])
def test_a_run_as_one_page_needs_nothing_and_nothing_in_it_acts(site: Site, name: str, tmp_path: Path) -> None:
    viewer = site.tab()
    viewer.page.goto(_written_page(site.folder, site.runs[name], tmp_path / "run.html"))
    viewer.page.locator("#steps").wait_for()
    assert viewer.page.title().split(" - ")[-1] in ("completed", "limit", "crashed")
    assert viewer.page.locator("body").evaluate("body => getComputedStyle(body).maxWidth") != "none"
    assert viewer.page.locator("script, img, iframe, object, form, link").count() == 0
    viewer.picture(f"page-{name}")
    viewer.check()
    viewer.close()


def test_a_failure_on_the_page_leads_to_its_step(site: Site, tmp_path: Path) -> None:
    viewer = site.tab()
    viewer.page.goto(_written_page(site.folder, site.runs["review"], tmp_path / "run.html"))
    viewer.page.get_by_role("link", name="step").first.click()
    target = viewer.page.locator(":target")
    assert "TypeError" in target.inner_text()
    assert target.is_visible()
    viewer.check()
    viewer.close()
