"""What can be said of tasks before they are done, by rules that anybody can read. How hard a task is nobody knows
before: that is a guess, and says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.budget import estimate_tokens

if TYPE_CHECKING:
    from rlm.jobs.tasks.values import TaskList

LEVELS = ("trivial", "simple", "moderate", "hard", "extreme")
_KINDS = {
    "code": r"\b(code|function|class|api|test|bug|refactor|implement|endpoint|script|module|app)\w*\b",
    "data": r"\b(csv|json|log|table|dataset|rows?|columns?|records?|parse|aggregate)\b",
    "calculation": r"\b(calculate|compute|sum|average|count|how many|prime|fibonacci)\w*\b",
    "files": r"\b(file|folder|directory|rename|move|copy)\w*\b",
}
_STEPS = re.compile(r"\b(then|and|also|after that|finally|including|with)\b|[;\n]", re.IGNORECASE)
_HEAVY = re.compile(
    r"\b(architecture|migrat|distributed|concurren|security|authenticat|optimi[sz]|entire|complete|full|production)\w*",
    re.IGNORECASE,
)
_HEAVY_WEIGHT = 2
_WORDS_PER_POINT = 40
_POINTS = (1, 3, 6, 10)
"""From so many points on a task is one level harder."""
_MANY_TASKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """How hard a task looks."""

    level: str
    kind: str
    points: int
    reasons: tuple[str, ...]
    tokens: int
    """The tokens of its prompt, by estimate."""


def complexity_of(prompt: str, data_chars: int = 0) -> Complexity:
    """How hard a task looks from its words and the size of its data."""
    words, steps, heavy = len(prompt.split()), len(_STEPS.findall(prompt)), _HEAVY.findall(prompt)
    large = len(str(data_chars)) - len("100000") if data_chars >= 100_000 else 0
    points = words // _WORDS_PER_POINT + steps + _HEAVY_WEIGHT * len(heavy) + large
    reasons = [f"{words} words", f"{steps} joints between steps"]
    reasons += [f"words of large work: {', '.join(sorted({*map(str.lower, heavy)}))}"] if heavy else []
    reasons += [f"{data_chars:,} characters of data"] if data_chars else []
    kind = next((name for name, words in _KINDS.items() if re.search(words, prompt, re.IGNORECASE)), "general")
    level = LEVELS[sum(points >= least for least in _POINTS)]
    return Complexity(level=level, kind=kind, points=points, reasons=tuple(reasons), tokens=estimate_tokens(prompt))


def strategy_of(listed: TaskList) -> str:
    """How a list would best be done, in words: what its needs make sure, and what is a guess."""
    tasks, needed = listed.tasks, {name for task in listed.tasks for name in task.needs}
    roots = [task.id for task in tasks if not task.needs]
    lines = [f"{len(tasks)} tasks, {len(roots)} of which need none of the others: {', '.join(roots[:10])}"]
    if listed.sequential:
        lines.append("sequential: one after the other, each with the answers of all before it")
    elif len(roots) == len(tasks):
        lines.append("nothing needs anything: they run side by side; name needs, or sequential, where order matters")
    else:
        waves = _waves(listed)
        lines.append(f"in {len(waves)} waves: " + "; then ".join(", ".join(wave[:8]) for wave in waves[:10]))
    for task in tasks:
        found = complexity_of(task.prompt)
        alone = "direct: it needs no run of its own" if found.level == LEVELS[0] and task.id not in needed else "a run"
        lines.append(f"{task.id}: {alone} ({found.level}, by its words: a guess)")
    unjudged = [task.id for task in tasks if task.id in needed and not task.validation]
    if unjudged:
        lines.append(f"others build on {', '.join(unjudged[:10])}: give them a validation")
    if len(tasks) > _MANY_TASKS and not listed.budget:
        lines.append("the list has no budget of its own")
    return "\n".join(lines)


def _waves(listed: TaskList) -> list[list[str]]:
    """The tasks that can run side by side, wave after wave; what is in a circle is left out."""
    left = {task.id: {*task.needs} for task in listed.tasks}
    waves: list[list[str]] = []
    while ready := [name for name, needs in left.items() if needs.isdisjoint(left)]:
        waves.append(ready)
        for name in ready:
            del left[name]
    return waves
