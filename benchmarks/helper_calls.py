"""What a helper costs a cell: one small call over the wire, through a worker, with its span in the record."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.docker import IMAGE
from benchmarks.figures import Figure
from rlm import RLM, Budget, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.config import DockerConfig
from rlm.repl import SANDBOXES

CALLS = 300
CALL_MS = 5.0
_CELL = f"""
import time
fs.stat("a.py")
began = time.perf_counter()
for _ in range({CALLS}):
    fs.stat("a.py")
FINAL((time.perf_counter() - began) / {CALLS} * 1000)
"""


def helper_calls() -> list[Figure]:
    """One `fs.stat` from a cell, warm, in each sandbox."""
    with TemporaryDirectory() as folder:
        Path(folder, "a.py").write_text("x = 1\n", encoding="utf-8")
        return [
            Figure(name=f"helper call from a cell: {name}", value=_call_ms(folder, name), unit="ms", limit=CALL_MS)
            for name in SANDBOXES
        ]


def _call_ms(folder: str, environment: str) -> float:
    config = Config(
        environment=environment,
        docker=DockerConfig(image=IMAGE),
        allowed_paths=(folder,),
        helper_rights=("read",),
        budget=Budget(tool_budget=CALLS + 1),
        log_dir=str(Path(folder, "logs")),
    )
    with RLM(ScriptedBackend([tool_call("execute_code", code=_CELL)]), config=config) as rlm:
        return float(rlm.completion("Go.").raise_for_status().value)
