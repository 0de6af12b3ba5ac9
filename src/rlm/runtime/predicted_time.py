"""How long a run will probably take, from those like it: the time within which nine in ten of them were done. Of a run
that ran out of time it is known only that it takes longer (Kaplan and Meier 1958, https://doi.org/10.2307/2281868).
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from rlm.core.events import CompletionStart
from rlm.core.exceptions import TimeLimitReached
from rlm.trajectory.index.folder import Index
from rlm.trajectory.index.rows import RunQuery
from rlm.trajectory.places import log_folder
from rlm.trajectory.reader import Trajectory
from rlm.trajectory.states import NAME_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rlm.core.config import Config

SHARE = 0.9
LEAST_RUNS = 5
"""From fewer runs nothing is predicted."""
MOST_RUNS = 200
"""The latest runs that are looked at."""
SIZE_FACTOR = 4
"""A run is like another whose data has at most so many times its size, and at least that part of it."""
MOST_LOAD = 4.0
"""A busy machine is taken to slow a run down so many times at most."""
LEAST_S = 1.0
_HEAD_EVENTS = 20
"""The beginning of the root is among the first events of a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """How long a run took."""

    seconds: float
    is_cut_off: bool = False
    """It had not ended when its time was up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedTime:
    """A limit of time, and what it comes from."""

    timeout_s: float | None
    """None: no limit, where the user has none and nothing is known."""
    reason: str

    def within(self, config: Config) -> Config:
        """The settings with this limit."""
        return msgspec.structs.replace(config, budget=msgspec.structs.replace(config.budget, timeout_s=self.timeout_s))


def predicted_time(config: Config, context_bytes: int, load: float | None = None) -> PredictedTime:
    """The limit for a run with this model over so much data, never above that of the settings; blocks while it reads.

    `load` is how many times slower the machine is than when it is idle; None: as the system tells.
    """
    cap_s, load = config.budget.timeout_s, _load() if load is None else load
    cap = "no limit" if cap_s is None else f"the limit of {cap_s:g} s"
    runs = like_runs(log_folder(config.log_dir), config.model or "", context_bytes)
    if len(runs) < LEAST_RUNS:
        known = f"{len(runs)} runs like this one are known, and it takes {LEAST_RUNS}"
        return PredictedTime(timeout_s=cap_s, reason=f"{cap} stays: {known} to predict its time")
    within_s = time_within(SHARE, runs)
    if within_s is None:
        return PredictedTime(
            timeout_s=cap_s, reason=f"{cap} stays: too many of {len(runs)} runs like this one ran out of time"
        )
    timeout_s = max(LEAST_S, within_s * load)
    said = f"nine in ten of {len(runs)} runs like this one took at most {within_s:.3g} s"
    said += f", times {load:.2g} for the load of this machine" if load > 1 else ""
    if cap_s is not None and timeout_s >= cap_s:
        return PredictedTime(timeout_s=cap_s, reason=f"{cap} stays: {said}")
    return PredictedTime(timeout_s=timeout_s, reason=f"a limit of {timeout_s:.3g} s: {said}")


def time_within(share: float, runs: Iterable[Took]) -> float | None:
    """The time within which that share of runs is done; None where too many were cut off to tell."""
    took = list(runs)
    done = Counter(each.seconds for each in took if not each.is_cut_off)
    lasting, not_done = Counter(each.seconds for each in took), 1.0
    left = len(took)
    for seconds in sorted(lasting):
        not_done *= 1 - done[seconds] / left
        left -= lasting[seconds]
        if done[seconds] and 1 - not_done >= share - 1e-9:
            return seconds
    return None


def like_runs(folder: Path, model: str, context_bytes: int) -> list[Took]:
    """How long the latest runs of a folder took that had this model, and about so much data."""
    model = model[:NAME_CHARS]  # as an index has it
    if not folder.is_dir():
        return []
    index = Index.open(folder)
    try:
        index.refresh()
        found = index.runs(RunQuery(status=("completed", "limit"), model=model, limit=MOST_RUNS)).rows
    finally:
        index.close()
    took: list[Took] = []
    for run in found:
        is_cut_off = run.limit == TimeLimitReached.limit
        if (run.model, run.resumed_from) != (model, None) or (run.status != "completed" and not is_cut_off):
            continue
        size_bytes = _context_bytes(Trajectory(folder / f"{run.id}.jsonl"))
        if size_bytes is not None and _are_like(size_bytes, context_bytes):
            took.append(Took(seconds=run.duration_s, is_cut_off=is_cut_off))
    return took


def _are_like(one_bytes: int, other_bytes: int) -> bool:
    small, large = sorted((one_bytes + 1_000, other_bytes + 1_000))  # below that, size says nothing about time
    return large <= SIZE_FACTOR * small


def _context_bytes(run: Trajectory) -> int | None:
    for number, event in enumerate(run):
        if isinstance(event.body, CompletionStart):
            return event.body.context.size_bytes or 0
        if number > _HEAD_EVENTS:
            break
    return None


def _load() -> float:
    """How many processes wait for each processor of this machine."""
    return min(MOST_LOAD, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))
