"""The failures and warnings of a run, equal ones together: what a reader looks for first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.trajectory.titles import title_of
from rlm_visualizer.formats import line
from rlm_visualizer.source import index

if TYPE_CHECKING:
    from rlm.trajectory.index.rows import Problem
    from rlm.trajectory.states import RunState, SpanState

READ = 2_000
"""The most failures, and the most warnings, that are looked at."""
_VARIES = re.compile(r"\b(?=\w*\d)\w+\b|0x[0-9a-f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Failures that say the same."""

    severity: str
    message: str
    """What the first of them says."""
    count: int
    first: SpanState | None
    where: str
    """The calls that the first is in, in words."""


def grouped(run: RunState) -> list[Failure]:
    """Failures, then warnings, each kind in the order in which it came first; equal but for their numbers are one."""
    groups: dict[tuple[str, str, str], list[Problem]] = {}
    for severity in ("error", "warning"):
        for each in index().problems(run.id, severity=severity, limit=READ).rows:
            groups.setdefault((severity, each.type, _VARIES.sub("#", each.message)), []).append(each)
    return [_failure(run, each) for each in groups.values()]


def _failure(run: RunState, alike: list[Problem]) -> Failure:
    first, path = alike[0], index().path(run.id, alike[0].span)
    names = [line(span.head, 40) if span.kind == "completion" else title_of(span) for span in path[1:]]
    return Failure(
        severity=first.severity,
        message=first.message,
        count=len(alike),
        first=path[-1] if path else None,
        where=" › ".join(names) or "the whole run",
    )
