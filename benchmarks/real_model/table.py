"""The table of trials: how many were right, with the interval in which the true share lies at 95 per cent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import groupby

from benchmarks.real_model.trials import POLICIES, Trial

_Z = 1.959964
"""Of a normal distribution, 95 per cent lie within so many standard deviations."""


def interval(right: int, tried: int) -> tuple[float, float]:
    """Wilson's interval for a share of which a sample is known; all that is possible where nothing was tried."""
    if not tried:
        return 0.0, 1.0
    share, weight = right / tried, _Z * _Z / tried
    middle = (share + weight / 2) / (1 + weight)
    half = _Z * math.sqrt(share * (1 - share) / tried + weight / (4 * tried)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def table(trials: Iterable[Trial]) -> Iterator[str]:
    """The lines of the table in Markdown, one for each variant and dialect."""
    yield f"| variant | dialect | right | of | share (95 %) | turns | tokens out | seconds | {' | '.join(_heads())} |"
    yield f"|{'---|' * (8 + len(POLICIES) - 1)}"

    def key(trial: Trial) -> tuple[str, str]:
        return trial.variant, trial.dialect

    for (variant, dialect), group in groupby(sorted(trials, key=key), key):
        yield _row(variant, dialect, list(group))


def _heads() -> list[str]:
    return [f"refused, {policy}" for policy in POLICIES if policy != "off"]


def _row(variant: str, dialect: str, trials: list[Trial]) -> str:
    right, tried = sum(trial.right for trial in trials), len(trials)
    low, high = interval(right, tried)
    refused = [str(sum(trial.refused[policy] for trial in trials)) for policy in POLICIES if policy != "off"]
    means = [sum(getattr(trial, name) for trial in trials) / tried for name in ("turns", "output_tokens", "seconds")]
    share = f"{right / tried:.0%} ({low:.0%} to {high:.0%})"
    figures = [f"{means[0]:.1f}", f"{means[1]:.0f}", f"{means[2]:.0f}"]
    return f"| {' | '.join([variant, dialect, str(right), str(tried), share, *figures, *refused])} |"
