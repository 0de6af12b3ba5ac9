"""`make shots`: a picture of each view of twelve prepared runs, in `build/shots/`, to be looked at.

With a folder as argument, the runs are taken from there if it has them, and are else recorded there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from tests.support.browser import ROOT, Viewer, browsing, serving
from tests.support.prepared_runs import live, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOTS = ROOT / "build/shots"
NARROW = {"width": 420, "height": 860}
DRAWN = ".rlm-root section, .rlm-root nav, .rlm-notice, canvas[data-draw-ms]"
VIEWS = ("overview", "steps", "timeline", "budget", "compare")


def main(folder: str = "") -> None:
    """Take the pictures."""
    with TemporaryDirectory() as scratch:
        where = Path(folder or scratch)
        known = where / "names.json"
        if not known.exists():
            where.mkdir(parents=True, exist_ok=True)
            known.write_bytes(msgspec.json.encode(prepare(where)))
        runs: dict[str, str] = msgspec.json.decode(known.read_bytes())
        with live(where) as running:
            _take(where, {**runs, "live": running})


def _take(where: Path, runs: dict[str, str]) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    with browsing() as profile:
        with serving(where) as (url, _):
            viewer = Viewer.of(profile, url)
            for name, address in _addresses(runs):
                _shot(viewer, name, address)
            viewer.page.set_viewport_size(NARROW)  # type: ignore[arg-type]
            for name, address in (("runs", ""), ("levels", f"?run={runs['levels']}")):
                _shot(viewer, f"{name}-narrow", address)
            viewer.close()
        with TemporaryDirectory() as empty, serving(Path(empty)) as (url, _):
            viewer = Viewer.of(profile, url)
            _shot(viewer, "empty-folder", "")
            viewer.close()


def _addresses(runs: dict[str, str]) -> Iterator[tuple[str, str]]:
    yield "runs", ""
    for name, run in runs.items():
        for view in VIEWS:
            other = f"&other={runs['review']}" if view == "compare" and name == "fork" else ""
            if view != "compare" or other:
                yield f"{name}-{view}", f"?run={run}&view={view}{other}"


def _shot(viewer: Viewer, name: str, address: str) -> None:
    page = viewer.open(address, DRAWN)
    page.wait_for_timeout(700)  # whatever is drawn after that
    page.screenshot(path=SHOTS / f"{name}.png")
    print(f"{name}: {len(viewer.faults)} faults", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
