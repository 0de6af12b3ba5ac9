"""The loop itself: what a turn costs when the model costs nothing, and whether it costs more as a run grows longer."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure
from benchmarks.fixture import budget, cell, checked, running, scripted
from rlm.core.events import TurnStart, decode
from rlm.core.types import ModelReply, ModelRequest

TIMED_TURNS = 200
LOGGED_TURNS = 1_000
REPEATS = 3


class Counting:
    """A model of no latency that runs a small cell each turn, and notes when it was asked."""

    def __init__(self, turns: int) -> None:
        self._turns = turns
        self.asked_at: list[float] = []

    def __call__(self, request: ModelRequest) -> ModelReply:
        self.asked_at.append(time.perf_counter())
        turn = len(self.asked_at)
        return cell("FINAL(total)" if turn > self._turns else f"total = {turn}\nprint(total, 'of', {self._turns})")


def own_time_per_turn() -> list[Figure]:
    """From one request to the next: the reply is parsed, its cell runs in the sandbox, the next request is made."""
    runs = [turn_times(TIMED_TURNS) for _ in range(REPEATS)]
    typical = [median(times) for times in zip(*runs, strict=True)]
    return [
        Figure(
            name=f"own time per turn, turns 1 to {TIMED_TURNS}, median", value=median(typical), unit="ms", limit=1.5
        ),
        Figure(name="own time per turn, last tenth / first tenth", value=growth(typical), unit="x", limit=1.3),
    ]


def log_growth() -> list[Figure]:
    """Bytes of the trajectory per turn, at the end of a long run and at its beginning."""
    model = Counting(LOGGED_TURNS)
    with running(scripted(model), budget(max_turns=LOGGED_TURNS + 1)) as rlm:
        trajectory = checked(rlm.completion("count")).trajectory
        assert trajectory is not None
        sizes = bytes_per_turn(trajectory)
    return [
        Figure(name=f"log, bytes per turn over {LOGGED_TURNS} turns, median", value=median(sizes), unit="bytes"),
        Figure(name="log, bytes per turn, last tenth / first tenth", value=growth(sizes), unit="x", limit=1.1),
    ]


def turn_times(turns: int) -> list[float]:
    """Milliseconds of each turn."""
    model = Counting(turns)
    with running(scripted(model), budget(max_turns=turns + 1)) as rlm:
        checked(rlm.completion("count"))
    return [(after - before) * 1e3 for before, after in zip(model.asked_at, model.asked_at[1:], strict=False)]


def bytes_per_turn(trajectory: Path) -> list[float]:
    """The bytes of all lines from one turn's start to the next one's."""
    sizes: list[float] = []
    for line in trajectory.read_bytes().splitlines(keepends=True):
        if isinstance(decode(line).body, TurnStart):
            sizes.append(0)
        if sizes:
            sizes[-1] += len(line)
    return sizes[:-1]


def growth(values: list[float]) -> float:
    """The median of the last tenth over that of the first."""
    tenth = len(values) // 10
    return median(values[-tenth:]) / median(values[:tenth])
