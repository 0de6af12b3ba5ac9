"""What a user waits for before anything happens: the import and the command line, each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure

REPEATS = 9


def imports() -> list[Figure]:
    """The import alone, without the start of the interpreter; and with the main class, which loads the runtime."""
    return [
        Figure(name="import rlm, median", value=median(import_s("import rlm")), unit="s", limit=0.1),
        Figure(name="from rlm import RLM, median", value=median(import_s("from rlm import RLM")), unit="s"),
    ]


def command_line() -> list[Figure]:
    """`rlm --help`, the whole process."""
    command = [str(Path(sys.executable).with_name("rlm")), "--help"]
    return [Figure(name="rlm --help, median", value=median(process_s(command)), unit="s", limit=0.4)]


def import_s(statement: str) -> list[float]:
    code = f"import time; begin = time.perf_counter(); {statement}; print(time.perf_counter() - begin)"
    command = [sys.executable, "-c", code]
    return [float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(REPEATS)]


def process_s(command: list[str]) -> list[float]:
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return times
