"""A measured figure beside its limit, and the baseline that a later run is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

BASELINE = Path(__file__).with_name("baseline.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measurement. Smaller is better, for every one of them."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    """At most this is good; None where there is nothing to hold it against."""

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return ""
        return "ok" if self.value <= self.limit else f"MISSED {self.value / self.limit:.2f} x"


def row(figure: Figure, baseline: dict[str, float]) -> str:
    """One line of the table."""
    limit = "-" if figure.limit is None else f"{figure.limit:g}"
    before = baseline.get(figure.name)
    change = f"{figure.value / before:.2f} x baseline" if before else ""
    return f"{figure.name:<58} {figure.value:>9.3f} {figure.unit:<6} {limit:>6}  {figure.verdict:<14} {change}".rstrip()


def load_baseline() -> dict[str, float]:
    """The saved figures by name; none if nothing was saved."""
    return msgspec.json.decode(BASELINE.read_bytes(), type=dict[str, float]) if BASELINE.exists() else {}


def save_baseline(figures: Iterable[Figure]) -> None:
    saved = {figure.name: round(figure.value, 6) for figure in figures}
    BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(saved)) + b"\n")
