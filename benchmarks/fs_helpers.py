"""How fast `fs` goes over a large tree and a large file, and takes it back; how much memory that takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.figures import Figure
from benchmarks.helpers import FILES, MATCHING, make_tree

NAMES = 200_000
LARGE_BYTES = 50_000_000
DRY_S, LARGE_S, NAMES_S = 4.0, 8.0, 12.0
"""Nobody has asked for these: they tell when something has become slow. Writes take what the disk takes."""
MEMORY_MB = 200.0
LARGE_MEMORY_MB = 600.0

_SCRIPT = """
import json
import os
import resource
import sys
import time
top, what = sys.argv[1:]
os.environ["XDG_STATE_HOME"] = os.path.join(top, "state")
from rlm.helpers import open_helpers
fs = open_helpers(os.path.join(top, "tree"), rights=["read", "write"]).fs
def timed(call):
    started = time.monotonic()
    call()
    return time.monotonic() - started
steps = {
    "tree": [
        lambda: fs.search_replace("**/*.py", "getUserData", "fetchUserData", dry_run=True),
        lambda: fs.search_replace("**/*.py", "import os", "import  os"),
        lambda: fs.undo(),
    ],
    "large": [lambda: fs.search_replace("large.log", "user=7", "user=8"), lambda: fs.undo()],
    "names": [lambda: fs.glob("**/file_7.py"), lambda: fs.tree()],
}
seconds = [timed(step) for step in steps[what]]
print(json.dumps([*seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3]))
"""


def fs_helpers() -> list[Figure]:
    """`fs.search_replace` and `fs.undo` over a tree and one file, `fs.glob` and `fs.tree` over many names."""
    return [*_tree(), *_large(), *_names()]


def _tree() -> list[Figure]:
    with TemporaryDirectory() as top:
        make_tree(_made(top))
        dry_s, write_s, undo_s, memory_mb = _measured(top, "tree")
    return [
        Figure(name=f"search_replace, dry run: {MATCHING} of {FILES:,} files", value=dry_s, unit="s", limit=DRY_S),
        Figure(name=f"search_replace, written: {FILES:,} files", value=write_s, unit="s"),
        Figure(name=f"undo: {FILES:,} files", value=undo_s, unit="s"),
        Figure(name="search_replace and undo: memory", value=memory_mb, unit="MB", limit=MEMORY_MB),
    ]


def _large() -> list[Figure]:
    with TemporaryDirectory() as top:
        line = b"2026-11-01T12:00:00 INFO request user=7 path=/index.html\n"
        (_made(top) / "large.log").write_bytes(line * (LARGE_BYTES // len(line)))
        write_s, undo_s, memory_mb = _measured(top, "large")
    return [
        Figure(name="search_replace: a file of 50 MB", value=write_s, unit="s", limit=LARGE_S),
        Figure(name="undo: a file of 50 MB", value=undo_s, unit="s", limit=LARGE_S),
        Figure(name="a file of 50 MB: memory", value=memory_mb, unit="MB", limit=LARGE_MEMORY_MB),
    ]


def _names() -> list[Figure]:
    with TemporaryDirectory() as top:
        for number in range(NAMES // 500):
            folder = _made(top) / f"d{number // 20}" / f"s{number}"
            folder.mkdir(parents=True)
            for each in range(500):
                (folder / f"file_{each}.py").touch()
        glob_s, tree_s, _ = _measured(top, "names")
    return [
        Figure(name=f"glob over {NAMES:,} names", value=glob_s, unit="s", limit=NAMES_S),
        Figure(name=f"tree over {NAMES:,} names", value=tree_s, unit="s", limit=NAMES_S),
    ]


def _made(top: str) -> Path:
    folder = Path(top) / "tree"
    folder.mkdir(exist_ok=True)
    return folder


def _measured(top: str, what: str) -> list[float]:
    """Seconds of each step, then megabytes."""
    command = [sys.executable, "-c", _SCRIPT, top, what]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return msgspec.json.decode(done.stdout, type=list[float])
