"""Grows random trees over a server that cuts off, hangs, misreports and overruns, and compares their reports with its
own books: `python -m benchmarks.faulty_trees [COUNT] [--first SEED] [--overruns SHARE]`.

A tree that spends past a cap, or reports less than was served, is printed and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.support.faulty_trees import Books, grow_over_http, problems

SHOWN = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Grow, print, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faulty_trees", description="Trees over a bad server.")
    parser.add_argument("count", nargs="?", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--overruns", type=float, default=0.0, metavar="SHARE", help="of attempts that write past caps")
    options = parser.parse_args(argv)
    began, endings, faults = time.perf_counter(), Counter[str](), Counter[str]()
    total, reported, broken = Books(), 0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first, options.first + options.count):
            grown = grow_over_http(seed, Path(folder), overruns=options.overruns)
            endings[grown.result.limit or grown.result.status] += 1
            faults.update(grown.books.faults)
            total.input_tokens += grown.books.input_tokens
            total.output_tokens += grown.books.output_tokens
            total.past_grant += grown.books.past_grant
            reported += grown.result.usage.input_tokens + grown.result.usage.output_tokens
            broken += [f"seed {seed}: {problem}" for problem in problems(grown)]
            assert grown.result.trajectory is not None
            grown.result.trajectory.unlink()
    print(f"{options.count:,} trees from seed {options.first} in {time.perf_counter() - began:.0f} s")
    print(f"endings: {_shares(endings)}", f"attempts: {_shares(faults)}", sep="\n")
    print(f"{total.tokens:,} tokens served, {total.past_grant:,} of them past grants; {reported:,} reported")
    print(f"{len(broken)} broke a promise", *broken[:SHOWN], sep="\n")
    return 1 if broken else 0


def _shares(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
