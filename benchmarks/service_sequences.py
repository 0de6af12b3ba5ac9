"""Draws random sequences of submitting, steering, vanishing, killing and restarting against a real service, and checks
that each run ends once, is made once and reports what was billed: `python -m benchmarks.service_sequences [COUNT]
[--first SEED] [--steps N]`. A sequence with a problem is printed and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.support.service_sequences import run_sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, print, return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.service_sequences", description="A service, ill-treated."
    )
    parser.add_argument("count", nargs="?", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--steps", type=int, default=45, metavar="N", help="of each sequence")
    options = parser.parse_args(argv)
    began, steps, runs, broken = time.perf_counter(), Counter[str](), 0, 0
    for seed in range(options.first, options.first + options.count):
        with tempfile.TemporaryDirectory() as folder:
            made = asyncio.run(run_sequence(seed, Path(folder), options.steps))
        steps.update(made.steps)
        runs += len(made.asked)
        if made.problems:
            broken += 1
            print(f"seed {seed}:", *made.problems, made.bills.history, sep="\n  ", flush=True)
    print(f"{options.count} sequences, {runs} runs, {broken} with problems, {time.perf_counter() - began:.0f} s")
    print(", ".join(f"{name} {count}" for name, count in steps.most_common()))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
