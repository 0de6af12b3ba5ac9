"""Prints how many tasks a noisy model lands, per kind of noise: `python -m benchmarks.suite [--seed N] [--share F]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

from benchmarks.suite.noise import KINDS, SHARE
from benchmarks.suite.run import Noise, Stage, Try, in_both, share_landed, stage
from benchmarks.suite.tasks import Task, suite

MIXED_AT_LEAST, ALONE_AT_LEAST = 0.95, 0.90


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; the exit code is 1 where a share is under its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of: {', '.join(KINDS)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=SHARE, help="of the replies that are spoilt")
    parser.add_argument("--per-kind", type=int, default=6, help="tasks of each kind over each shape of context")
    parser.add_argument("--records", type=int, default=400, help="records in a context, about")
    options = parser.parse_args(argv)
    if unknown := set(options.kinds) - KINDS.keys():
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are: {', '.join(KINDS)}")
    tasks = suite(options.seed, per_kind=options.per_kind, records=options.records)
    print(f"{len(tasks)} tasks in both dialects, {options.share:.0%} of the replies spoilt\n")
    print(f"{'noise':<20} {'tools':>7} {'code':>7} {'both':>7} {'limit':>6}   turns  seconds")
    with stage() as open_stage:
        rows = [((), 1.0), (tuple(KINDS), MIXED_AT_LEAST), *(((kind,), ALONE_AT_LEAST) for kind in KINDS)]
        chosen = [((kind,), ALONE_AT_LEAST) for kind in options.kinds] or rows
        missed = [kinds for kinds, limit in chosen if not _row(open_stage, tasks, kinds, limit, options)]
    return 1 if missed else 0


def _row(
    open_stage: Stage, tasks: Sequence[Task], kinds: tuple[str, ...], limit: float, options: argparse.Namespace
) -> bool:
    begin = time.perf_counter()
    noise = Noise(kinds=kinds, share=options.share, seed=options.seed)
    tries = [open_stage.play(task, dialect, noise) for task, dialect in in_both(tasks)]
    shares = [_share(tries, "tools"), _share(tries, "code"), share_landed(tries)]
    name = "none" if not kinds else kinds[0] if len(kinds) == 1 else "all, mixed"
    turns = sum(each.result.usage.turns for each in tries) / len(tries)
    verdict = "" if shares[-1] >= limit else "  MISSED"
    endings = Counter(each.ending for each in tries if not each.landed)
    why = "".join(f"  {count} {ending}" for ending, count in endings.most_common())
    figures = " ".join(f"{share:>7.1%}" for share in shares)
    print(
        f"{name:<20} {figures} {limit:>6.0%} {turns:>7.1f} {time.perf_counter() - begin:>8.1f}{verdict}{why}",
        flush=True,
    )
    return not verdict


def _share(tries: Sequence[Try], dialect: str) -> float:
    return share_landed([each for each in tries if each.dialect == dialect])


if __name__ == "__main__":
    sys.exit(main())
