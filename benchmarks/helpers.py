"""How fast `code` and `transform` go through a large tree: a million lines of Python in ten thousand files."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure

FILES = 10_000
MATCHING = 200
SURVEY_S = 8.0
RENAME_S = 8.0
MEMORY_MB = 200.0

_UNIT = '''
import os
import sys as system


def function_{n}(alpha, beta=1, *rest, **more):
    """Return something."""
    if alpha > beta:
        for item in rest:
            system.stdout.write(str(more.get("x", item)))
    elif alpha:
        return [each * 2 for each in rest if each]
    value = alpha + beta * (alpha - 1) / 7
    names = {{"a": value, "b": alpha}}
    return {{**names, "c": os.sep}}


class Thing_{n}(object):
    """Something with a method."""

    def method(self, one, two):
        self.one = one
        while self.one < 10:
            self.one += self.compute(two)
        return self.one

'''
_USE = "from part_0.target import getUserData\n\n\ndef use():\n    # getUserData\n    return getUserData(1)\n"

_SURVEY = """
import os
import resource
import sys
from rlm.helpers import open_helpers
print(open_helpers(sys.argv[1]).code.find_functions(".")["total"])
own, workers = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print((own + (os.cpu_count() or 1) * workers) / 1e3)
"""
_RENAME = """
import sys
from rlm.helpers import open_helpers
transform = open_helpers(sys.argv[1], rights=["read", "write"]).transform
print(transform.rename_identifier(".", "getUserData", "fetchUserData", dry_run=True)["files_modified"])
print(0)
"""


def code_helpers() -> list[Figure]:
    """`code.find_functions` over the tree, its memory, and a dry run of `transform.rename_identifier`.

    Each in a process of its own, its start included.
    """
    with TemporaryDirectory() as folder:
        lines = make_tree(Path(folder))
        survey_s, memory_mb = _timed(_SURVEY, folder, (FILES - 1) * 8 + MATCHING)
        rename_s, _ = _timed(_RENAME, folder, MATCHING)
    million = f"{lines / 1e6:.2f} million lines in {FILES:,} files"
    return [
        Figure(name=f"find_functions: {million}", value=survey_s, unit="s", limit=SURVEY_S),
        Figure(name="find_functions: memory of all its processes", value=memory_mb, unit="MB", limit=MEMORY_MB),
        Figure(name=f"rename, dry run: {MATCHING} of {FILES:,} files", value=rename_s, unit="s", limit=RENAME_S),
    ]


def make_tree(folder: Path) -> int:
    """Write the tree; returns its lines."""
    lines = 0
    for number in range(FILES - 1):
        place = folder / f"part_{number // 100}"
        place.mkdir(exist_ok=True)
        text = "".join(_UNIT.format(n=each) for each in range(4))
        text += _USE if number < MATCHING - 1 else ""
        lines += text.count("\n")
        (place / f"module_{number}.py").write_text(text, encoding="utf-8")
    (folder / "part_0" / "target.py").write_text("def getUserData(n):\n    return n\n", encoding="utf-8")
    return lines


def _timed(script: str, folder: str, expected: int) -> tuple[float, float]:
    """Seconds and megabytes."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
    seconds = time.monotonic() - started
    counted, memory_mb = done.stdout.split()
    assert int(counted) == expected, done.stdout
    return seconds, float(memory_mb)
