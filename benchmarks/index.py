"""The index over a large record: how long it takes to make and to ask, what memory it needs, what receipts cost."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.big_log import BigLog, write_big_log
from benchmarks.figures import Figure
from rlm.core.events import encode
from rlm.trajectory.chain import Chain
from rlm.trajectory.index import database
from rlm.trajectory.index.folder import Index
from rlm.trajectory.receipts import verify
from rlm.trajectory.search import search

REPEATS = 5
MB = 1_000_000
_MEMORY = """
import pathlib, re, sys
from rlm.trajectory.index.folder import Index
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
idle = peak()
index = Index.open(pathlib.Path(sys.argv[1]))
index.refresh()
index.timeline(index.run("last").id)
print(peak() - idle)
"""


def index() -> list[Figure]:
    """A record of 100,000 events (76 MB): made, asked, searched and verified."""
    with _big_log() as path:
        memory_bytes = _peak_bytes(path.parent)
        made_s = median(_made_s(path.parent) for _ in range(3))
        with Index.open(path.parent) as opened:
            return [
                Figure(name="100,000 events, index made", value=made_s, unit="s", limit=1.0),
                Figure(name="100,000 events, memory above idle", value=memory_bytes / MB, unit="MB", limit=100.0),
                *_questions(opened, path.stem),
                Figure(name="100,000 events, a text that isn't there", value=_missing_s(opened), unit="s"),
                Figure(name="100,000 events, verified", value=_timed(lambda: verify(path)), unit="s"),
            ]


def receipts() -> list[Figure]:
    """What the hash chain adds to each event."""
    lines = [encode(event) for event in BigLog().events(20_000)]
    return [_chained("sha256", None, lines), _chained("hmac-sha256", b"k" * 32, lines)]


def _chained(name: str, key: bytes | None, lines: list[bytes]) -> Figure:
    chain = Chain("ab" * 16, key)
    begin = time.perf_counter()
    for line in lines:
        chain.add(line)
    each_us = (time.perf_counter() - begin) / len(lines) * 1e6
    return Figure(name=f"receipts, {name}, an event", value=each_us, unit="us", limit=10.0)


@contextmanager
def _big_log() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield write_big_log(Path(folder))


def _made_s(folder: Path) -> float:
    database.remove(folder / database.NAME)
    begin = time.perf_counter()
    with Index.open(folder) as opened:
        opened.refresh()
        return time.perf_counter() - begin


def _questions(opened: Index, run: str) -> list[Figure]:
    cell = opened.steps(run, offset=300, limit=1).rows[0]
    questions: dict[str, Callable[[], object]] = {
        "nothing new": opened.refresh,
        "a page of runs": opened.runs,
        "the tree below a cell": lambda: opened.groups(run, cell.id),
        "a step's events": lambda: list(opened.read(run, opened.events(run, cell.id))),
        "the timeline": lambda: opened.timeline(run),
        "the burn-down": lambda: opened.burndown(run),
    }
    limits = {"the timeline": 300.0, "the burn-down": 300.0}
    return [
        Figure(name=f"100,000 events, {name}", value=_timed(ask) * 1000, unit="ms", limit=limits.get(name, 20.0))
        for name, ask in questions.items()
    ]


def _missing_s(opened: Index) -> float:
    return _timed(lambda: search(opened, "a text that is not there"))


def _timed(ask: Callable[[], object]) -> float:
    """The median of several times, in seconds."""
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        ask()
        times.append(time.perf_counter() - begin)
    return median(times)


def _peak_bytes(folder: Path) -> int:
    """What a process of its own needs at most to make the index, above what it had before."""
    done = subprocess.run([sys.executable, "-c", _MEMORY, str(folder)], capture_output=True, text=True, check=True)
    return int(done.stdout)
