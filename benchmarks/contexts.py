"""Large texts: how long until the model is first asked, and how much memory all processes together take for it."""

from __future__ import annotations

import gzip
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median

from benchmarks.figures import Figure
from benchmarks.fixture import budget, cell, checked, running, scripted, text_file
from rlm.core.types import ModelReply, ModelRequest
from rlm.runtime.inputs import prepare

MB = 1_000_000
SAMPLE_EVERY_S = 0.02
REPEATS = 3


def hundred_megabytes() -> list[Figure]:
    """A text file of 100 MB, from the call of `completion` to the first request."""
    return [Figure(name="100 MB of text to the first request", value=first_request_s(100 * MB), unit="s", limit=0.35)]


def one_gigabyte() -> list[Figure]:
    """The same for 1 GB; then once more with the memory watched, until a cell has read the text."""
    return [
        Figure(name="1 GB of text to the first request", value=first_request_s(1_000 * MB), unit="s", limit=3.0),
        Figure(name="1 GB of text, peak memory / text", value=peak_memory(1_000 * MB), unit="x", limit=1.3),
    ]


def packed() -> list[Figure]:
    """A log of 100 MB, compressed by gzip, as a context; beside what `zcat` takes for it."""
    draw = Random(1)
    lines = "".join(f"2026-03-01T10:{n % 60:02}:00 worker-{draw.random()} took {n % 977} ms\n" for n in range(20_000))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "app.log.gz"
        with gzip.open(path, "wt", compresslevel=6) as file:
            for _ in range(100 * MB // len(lines)):
                file.write(lines)
        pairs = [(_seconds(lambda: prepare(path).close()), _seconds(lambda: _zcat(path))) for _ in range(REPEATS)]
    times = [median(each) for each in zip(*pairs, strict=True)]
    return [
        Figure(name="100 MB from gzip as a context", value=times[0], unit="s"),
        Figure(name="100 MB from gzip as a context / zcat", value=times[0] / times[1], unit="x", limit=1.0),
    ]


def _zcat(path: Path) -> None:
    subprocess.run(["zcat", str(path)], check=True, stdout=subprocess.DEVNULL)


def _seconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def first_request_s(size_bytes: int) -> float:
    """The median of several completions over the same file."""
    asked_at: list[float] = []
    times = []

    def model(request: ModelRequest) -> ModelReply:
        asked_at.append(time.perf_counter())
        return cell("FINAL(len(context))")

    with text_file(size_bytes) as path, running(scripted(model), budget()) as rlm:
        for _ in range(REPEATS):
            begin = time.perf_counter()
            assert checked(rlm.completion("how long is it?", path)).value == size_bytes
            times.append(asked_at[-1] - begin)
    return median(times)


def peak_memory(size_bytes: int) -> float:
    """Anonymous and shared memory of this process and all below it over the size of the text, at the peak.

    What this process had before is taken off.
    """
    with (
        text_file(size_bytes) as path,
        running(scripted(lambda _: cell("FINAL(context.count('fox'))")), budget()) as rlm,
        watching_memory() as samples,
    ):
        checked(rlm.completion("how often?", path))
    return (max(samples) - samples[0]) / size_bytes


@contextmanager
def watching_memory() -> Iterator[list[int]]:
    """Samples of `memory_bytes`, one at once and one every 20 ms until the end."""
    samples, done = [memory_bytes()], threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_EVERY_S):
            samples.append(memory_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield samples
    finally:
        done.set()
        watcher.join()


def memory_bytes() -> int:
    """Anonymous and shared memory of this process and its descendants; pages they share are counted once."""
    return sum(_own_memory_bytes(process) for process in _family())


def _family() -> list[Path]:
    """This process and its descendants, as folders of /proc."""
    found = [Path("/proc/self").resolve()]
    for process in found:
        for task in _read(process / "task", listing=True):
            children = _read(process / "task" / task / "children")
            found.extend(Path("/proc") / child for child in " ".join(children).split())
    return found


def _own_memory_bytes(process: Path) -> int:
    fields = (line.split() for line in _read(process / "smaps_rollup"))
    return sum(int(field[1]) * 1024 for field in fields if field[0] in ("Pss_Anon:", "Pss_Shmem:"))


def _read(path: Path, *, listing: bool = False) -> list[str]:
    """Lines of a file or names in a folder; nothing where the process has ended."""
    try:
        return [entry.name for entry in path.iterdir()] if listing else path.read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []
