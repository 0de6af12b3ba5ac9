"""`make shots`: a picture of each view of twelve prepared runs, in `build/shots/`, to be looked at.

With a folder as argument, the runs are taken from there if it has them, and are else recorded there; with the
beginnings of names after it, only those pictures are taken.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from tests.support.browser import ROOT, WIDE, Viewer, browsing, serving
from tests.support.prepared_runs import live, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import ViewportSize

SHOTS = ROOT / "build/shots"
NARROW: ViewportSize = {"width": 420, "height": 860}
DRAWN = ".rlm-root section, .rlm-notice, canvas[data-draw-ms]"


def main(folder: str = "", *names: str) -> None:
    """Take the pictures."""
    with TemporaryDirectory() as scratch:
        where = Path(folder or scratch)
        known = where / "names.json"
        if not known.exists():
            where.mkdir(parents=True, exist_ok=True)
            known.write_bytes(msgspec.json.encode(prepare(where)))
        runs: dict[str, str] = msgspec.json.decode(known.read_bytes())
        with live(where) as running:
            _take(where, {**runs, "live": running}, names)


def _take(where: Path, runs: dict[str, str], names: tuple[str, ...]) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    wanted = [shot for shot in _addresses(runs) if not names or shot[0].startswith(names)]
    with browsing() as profile:
        with serving(where) as (url, _):
            viewer = Viewer.of(profile, url)
            for name, address in wanted:
                viewer.page.set_viewport_size(NARROW if name.endswith("narrow") else WIDE)
                _shot(viewer, name, address)
            viewer.close()
        if not names:
            with TemporaryDirectory() as empty, serving(Path(empty)) as (url, _):
                viewer = Viewer.of(profile, url)
                _shot(viewer, "empty-folder", "")
                viewer.close()


def _addresses(runs: dict[str, str]) -> Iterator[tuple[str, str]]:
    yield from (("runs", ""), ("days", "?view=days"), ("search", "?view=search&q=customer"), ("runs-narrow", ""))
    yield from (("tasks", "?view=tasks"), ("tasks-one", "?view=tasks&tasks=last"))
    yield "levels-narrow", f"?run={runs['levels']}"
    for name, run in runs.items():
        yield f"{name}-run", f"?run={run}"
        yield f"{name}-failure", f"?run={run}"
        yield f"{name}-step", f"?run={run}&step=2"
        yield f"{name}-timeline", f"?run={run}&view=timeline"
        yield f"{name}-budget", f"?run={run}&view=budget"
    yield "fork-compare", f"?run={runs['fork']}&view=compare&other={runs['review']}"


def _shot(viewer: Viewer, name: str, address: str) -> None:
    page = viewer.open(address, DRAWN)
    if name.endswith("-failure"):
        page.keyboard.press("e")
        page.wait_for_timeout(300)
    page.locator("[data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(1_200)  # whatever is drawn after that: code is coloured late
    page.screenshot(path=SHOTS / f"{name}.png")
    print(f"{name}: {len(viewer.faults)} faults", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
