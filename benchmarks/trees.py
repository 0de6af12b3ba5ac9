"""Grows random trees of completions, counts broken promises: `python -m benchmarks.trees [COUNT] [--first SEED]`.

No limit on speed is checked here; a tree that breaks a promise, or never ends, is printed and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.tree_checks import check
from tests.support.tree_runs import Grown, grow
from tests.support.trees import draw_plan
from tests.support.virtual_time import Stuck

SHOWN = 5


@dataclass(kw_only=True)
class Tally:
    """What the trees were like."""

    endings: Counter[str] = field(default_factory=Counter)
    depths: Counter[int] = field(default_factory=Counter)
    model_calls: int = 0
    subcalls: int = 0
    events: int = 0
    peak_in_flight: int = 0
    peak_repls: int = 0
    broken: list[str] = field(default_factory=list)

    def add(self, grown: Grown) -> None:
        """Count one more tree."""
        result = grown.result
        self.endings[result.limit or result.status] += 1
        self.depths[result.usage.depth_reached] += 1
        self.model_calls += result.usage.model_calls
        self.subcalls += result.usage.subcalls
        self.events += len(grown.events)
        self.peak_in_flight = max(self.peak_in_flight, grown.model.made.peak_in_flight)
        self.peak_repls = max(self.peak_repls, grown.sandbox.peak_alive)

    def lines(self) -> list[str]:
        """The table."""
        return [
            f"endings: {_shares(self.endings)}",
            f"depth reached: {_shares(self.depths)}",
            f"{self.model_calls:,} model calls, {self.subcalls:,} sub-calls, {self.events:,} events",
            f"at most {self.peak_in_flight} requests in flight and {self.peak_repls} REPLs alive at one time",
        ]


def main(argv: Sequence[str] | None = None) -> int:
    """Grow, print, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trees", description="Random trees, every promise.")
    parser.add_argument("count", nargs="?", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    options = parser.parse_args(argv)
    began, tally = time.perf_counter(), Tally()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first, options.first + options.count):
            _grow_one(seed, Path(folder), tally)
    print(f"{options.count:,} trees from seed {options.first} in {time.perf_counter() - began:.0f} s")
    print(*tally.lines(), f"{len(tally.broken)} broke a promise", *tally.broken[:SHOWN], sep="\n")
    return 1 if tally.broken else 0


def _grow_one(seed: int, folder: Path, tally: Tally) -> None:
    try:
        grown = grow(draw_plan(random.Random(seed)), folder)
        tally.add(grown)
        check(grown)
    except (Stuck, Exception) as error:  # noqa: BLE001 - every way to fail is to be counted
        tally.broken.append(f"seed {seed}: {type(error).__name__}: {error}")
    else:
        assert grown.result.trajectory is not None
        grown.result.trajectory.unlink()


def _shares(counts: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=str))


if __name__ == "__main__":
    sys.exit(main())
