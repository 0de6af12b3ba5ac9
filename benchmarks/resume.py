"""What a resumed run takes for a turn that its record has, beyond the time of the cell itself."""

from __future__ import annotations

import tempfile
import time
from itertools import pairwise
from statistics import median

from benchmarks.figures import Figure
from benchmarks.fixture import budget, cell, checked
from rlm import RLM, Config
from rlm.backends.scripted import ScriptedBackend
from rlm.core.events import ExecEnd, TurnStart, decode
from rlm.core.outcome import RLMResult
from rlm.core.types import ModelReply, ModelRequest, TokenUsage

CELLS = 200
REPEATS = 3


def served_cells() -> list[Figure]:
    """A run of many cells, each with a sub-call, that failed at its end and is resumed from its record."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(log_dir=folder, budget=budget(max_turns=CELLS + 10))
        with RLM(ScriptedBackend(_replies), config=config) as rlm:
            first = rlm.completion("count", "data")
        with RLM(ScriptedBackend(lambda _request: cell("FINAL(total)")), config=config) as rlm:
            rlm.completion("warm up")
            timed = [_timed(rlm, first) for _ in range(REPEATS)]
    own = [own for own, _ in timed]
    whole = [whole for _, whole in timed]
    return [
        Figure(name=f"resume, per served cell beyond its own time, of {CELLS}", value=min(own), unit="ms", limit=5.0),
        Figure(name="resume, all of it per cell, reading the record included", value=min(whole), unit="ms"),
    ]


def _replies(request: ModelRequest) -> ModelReply:
    if not request.tools:
        return ModelReply(text="an answer", usage=TokenUsage(input_tokens=100, output_tokens=10))
    turn = sum(message.role == "assistant" for message in request.messages) + 1
    if turn > CELLS:
        raise RuntimeError("the end of the script")
    return cell(f"total = {turn}\nprint(total, llm_query('question {turn}'))")


def _timed(rlm: RLM, first: RLMResult) -> tuple[float, float]:
    """Milliseconds per cell: of the typical turn without its cell, and of the whole."""
    began_at = time.perf_counter()
    result = checked(rlm.resume(first.run_id, context="data"))
    whole = (time.perf_counter() - began_at) * 1e3 / CELLS
    assert result.trajectory is not None
    begun: list[float] = []
    cells: list[float] = []
    for line in result.trajectory.read_bytes().splitlines():
        event = decode(line)
        if isinstance(event.body, TurnStart):
            begun.append(event.at)
        elif isinstance(event.body, ExecEnd):
            cells.append(event.body.duration_s)
    turns = [after - before for before, after in pairwise(begun)]
    return median((turn - own) * 1e3 for turn, own in zip(turns, cells, strict=False)), whole
