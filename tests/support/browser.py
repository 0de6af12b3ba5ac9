"""The visualizer as its users have it: `rlm visualize` in a process of its own, looked at by a real, headless Chromium.

Pages are kept as pictures in `build/screenshots/`. What a page asks of other hosts is kept too, and has to be nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build/screenshots"
RLM = str(Path(sys.executable).with_name("rlm"))
NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDE: ViewportSize = {"width": 1360, "height": 860}


def chromium() -> str:
    """The program: RLM_CHROMIUM, or the first that is there."""
    return os.environ.get("RLM_CHROMIUM") or next(found for name in NAMES if (found := shutil.which(name)))


@contextmanager
def serving(log_dir: Path, *arguments: str, stdout: int | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`rlm visualize` over a folder on a free port: its address and its process."""
    command = [RLM, "visualize", *arguments, "--log-dir", str(log_dir), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True)
    try:
        yield _address(process), process
    finally:
        process.terminate()
        process.communicate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.match(r"http://127\.0\.0\.1:\d+/\S*", line):
            return found[0]
    raise AssertionError("".join(said))


@contextmanager
def browsing() -> Iterator[BrowserContext]:
    """A profile of a headless Chromium, in a folder of its own: its tabs share a cache, of compiled scripts too."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        profile = playwright.chromium.launch_persistent_context(
            folder, executable_path=chromium(), args=["--no-sandbox"], viewport=WIDE
        )
        yield profile
        profile.close()


@dataclass
class Viewer:
    """One tab, and what went wrong in it."""

    page: Page
    url: str
    outside: list[str] = field(default_factory=list)
    """Requests to any other host."""
    faults: list[str] = field(default_factory=list)
    """Errors of scripts and of the console."""
    received_bytes: int = 0
    """Over WebSockets."""

    @classmethod
    def of(cls, profile: BrowserContext, url: str, *, dark: bool = False) -> Viewer:
        """A tab, at no page yet."""
        page = profile.new_page()
        page.emulate_media(color_scheme="dark" if dark else "light")
        viewer = cls(page, url)
        page.on("request", lambda request: viewer._asked(request.url))
        page.on("pageerror", lambda error: viewer.faults.append(str(error)))
        page.on("console", lambda said: viewer.faults.append(said.text) if said.type == "error" else None)
        page.on("websocket", lambda socket: socket.on("framereceived", viewer._received))
        return viewer

    def open(self, address: str, expects: str) -> Page:
        """Go to an address of the app, and wait until something is there."""
        self.page.goto(self.url + address)
        self.page.locator(expects).first.wait_for()
        return self.page

    def check(self) -> None:
        """Nothing was asked of another host, no script failed, and the page shows no exception."""
        assert (self.outside, self.faults) == ([], [])
        assert self.page.get_by_test_id("stException").count() == 0

    def picture(self, name: str) -> None:
        """Keep what is seen as `build/screenshots/<name>.png`."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    def close(self) -> None:
        self.page.close()

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != urlsplit(self.url).hostname:
            self.outside.append(url)

    def _received(self, content: str | bytes) -> None:
        self.received_bytes += len(content)
