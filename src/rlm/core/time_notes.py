"""When it is said that a share of some time has passed, of a run or of a command, and in which words."""

from __future__ import annotations

from typing import Final

SHARES: Final = (0.5, 5 / 6)
"""Of the whole time: 30 and 50 of 60 minutes."""


def time_note(what: str, spent_s: float, limit_s: float, cost_usd: float | None) -> str:
    """What has passed and what is left, with what it has cost where it costs anything."""
    price = ", at an unknown price" if cost_usd is None else f", ${cost_usd:.2f} so far" if cost_usd else ""
    return f"{what} has run for {_span(spent_s)}{price}; it is ended in {_span(max(limit_s - spent_s, 0.0))}"


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
