"""The visualizer over a record of 100,000 events (76 MB), in a real browser: how soon a page stands, what it sends, how
long a step and a frame of the canvas take, and how much memory the app needs above that for an empty folder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from playwright.sync_api import BrowserContext

from benchmarks.big_log import RUN, write_big_log
from benchmarks.figures import Figure
from tests.support.browser import Viewer, browsing, serving

MB, KB = 1_000_000, 1_000
STEPS = 9
NAME = "100,000 events, pages"


def pages() -> list[Figure]:
    """First views, a step, the canvas, memory; each first view in a new profile with nothing cached but the scripts."""
    with browsing() as profile, tempfile.TemporaryDirectory() as empty, _big_log() as folder:
        idle_bytes = _idle_bytes(profile, Path(empty))
        with serving(folder) as (url, process):
            first = _view(profile, url, "first view", "", ".rlm-runs tbody tr")
            again = _view(profile, url, "a run", f"?run={RUN}", ".rlm-tree .rlm-node")
            step = _step(profile, url)
            canvas = _canvas(profile, url)
            memory = Figure(
                name=f"{NAME}: memory above idle", value=(_rss(process.pid) - idle_bytes) / MB, unit="MB", limit=100.0
            )
    return [*first, *again, *step, *canvas, memory]


@contextmanager
def _big_log() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        write_big_log(Path(folder))
        yield Path(folder)


def _idle_bytes(profile: BrowserContext, empty: Path) -> int:
    """Memory of the app with one page open; it also fills the browser's cache, as any earlier visit does."""
    with serving(empty) as (url, process):
        viewer = Viewer.of(profile, url)
        viewer.open("", ".rlm-notice")
        viewer.close()
        return _rss(process.pid)


def _view(profile: BrowserContext, url: str, what: str, address: str, expects: str) -> list[Figure]:
    viewer = Viewer.of(profile, url)
    began = time.perf_counter()
    viewer.open(address, expects)
    took_s = time.perf_counter() - began
    viewer.page.wait_for_timeout(500)  # whatever else is sent
    viewer.close()
    return [
        Figure(name=f"{NAME}: {what}", value=took_s, unit="s", limit=2.0),
        Figure(name=f"{NAME}: {what}, sent", value=viewer.received_bytes / KB, unit="KB", limit=100.0),
    ]


def _step(profile: BrowserContext, url: str) -> list[Figure]:
    viewer = Viewer.of(profile, url)
    page = viewer.open(f"?run={RUN}&view=steps&step=200", ".rlm-walk")
    times = []
    for number in range(201, 201 + STEPS):
        began = time.perf_counter()
        page.keyboard.press("j")
        page.get_by_text(f"Step {number} of").wait_for()
        page.locator("[data-test-script-state=notRunning]").wait_for()
        times.append(time.perf_counter() - began)
    viewer.close()
    return [Figure(name=f"{NAME}: a step", value=median(times), unit="s", limit=0.3)]


def _canvas(profile: BrowserContext, url: str) -> list[Figure]:
    """All spans on the canvas: until they are drawn, what they took to send, and one frame."""
    viewer = Viewer.of(profile, url)
    began = time.perf_counter()
    page = viewer.open(f"?run={RUN}&view=timeline", "canvas[data-draw-ms]")
    took_s = time.perf_counter() - began
    canvas = page.locator("canvas")
    frames = []
    for _ in range(STEPS):
        canvas.hover(position={"x": 600, "y": 90})
        page.mouse.wheel(0, -200)
        page.wait_for_timeout(50)
        frames.append(float(canvas.get_attribute("data-draw-ms") or "nan"))
    spans = int(canvas.get_attribute("data-spans") or 0)
    viewer.close()
    return [
        Figure(name=f"{NAME}: timeline of {spans:,} spans", value=took_s, unit="s", limit=2.0),
        Figure(name=f"{NAME}: timeline, sent", value=viewer.received_bytes / KB, unit="KB"),
        Figure(name=f"{NAME}: timeline, a frame", value=median(frames), unit="ms", limit=33.0),
    ]


def _rss(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024
