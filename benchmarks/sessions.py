"""How long a session takes to be saved and to be loaded, with one long text and with many small values."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure
from rlm import RLM, Config

SAVE_10_S, LOAD_10_S = 1.0, 1.0
SAVE_100_S, LOAD_100_S = 15.0, 10.0
"""Most of it is masking, for which docs/masking.md promises 20 MB/s, and making objects of text."""
LINE = "2026-11-21 10:00:00 INFO worker-3 served /v1/items in 12 ms\n"
SHAPES = {
    "text": f"value = {LINE!r} * (SIZE // {len(LINE)})",
    "rows": "value = [{'id': i, 'name': 'row number %d' % i, 'score': i / 7} for i in range(SIZE // 62)]",
}


def sessions() -> list[Figure]:
    """10 MB and 100 MB in the sandbox `local`: `save`, then a REPL that is opened with what was saved."""
    figures = []
    for megabytes, save_s, load_s in ((10, SAVE_10_S, LOAD_10_S), (100, SAVE_100_S, LOAD_100_S)):
        for shape, code in SHAPES.items():
            saved_s, loaded_s = _carried(code.replace("SIZE", str(megabytes * 1_000_000)))
            what = f"{megabytes} MB of {shape}"
            figures.append(Figure(name=f"session: save {what}", value=saved_s, unit="s", limit=save_s))
            figures.append(Figure(name=f"session: load {what}", value=loaded_s, unit="s", limit=load_s))
    return figures


def _carried(code: str) -> tuple[float, float]:
    """Seconds to save what `code` makes, and to open a REPL with it."""
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store.sqlite")
        with RLM(config=Config(store_path=store, log_dir=folder, environment="local")) as rlm:
            repl = rlm.open_repl(session="work")
            repl.run(code)
            begin = time.perf_counter()
            assert "value" in repl.save().state.values
            saved_s = time.perf_counter() - begin
            repl.close()
            begin = time.perf_counter()
            again = rlm.open_repl(session="work")
            assert again.run("len(value)").error is None
            return saved_s, time.perf_counter() - begin
