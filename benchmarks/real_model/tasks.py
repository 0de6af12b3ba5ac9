"""Small tasks with one right answer each, made from a seed, and how an answer is held against it. Others come from a
file of Python with `all_tasks(seed)` and, if it likes, `is_right(task, text)`."""

from __future__ import annotations

import importlib.util
import random
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

_WORD = re.compile(r"[\w.@/:-]+")
_MOST_CHARS = 200
"""A longer text is no answer but a list of everything."""


class Task(Protocol):
    """What is asked of a model."""

    @property
    def name(self) -> str: ...

    @property
    def prompt(self) -> str: ...

    @property
    def context(self) -> Any: ...

    @property
    def answer(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTask:
    """One of the project's own tasks."""

    name: str
    prompt: str
    context: Any
    answer: str
    """What a right answer has as a whole word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """Tasks by seed, and what is right."""

    tasks: Callable[[int], list[Task]]
    is_right: Callable[[Task, str], bool]


def own_tasks(seed: int) -> list[Task]:
    """The tasks of the project; none is like those that a file brings."""
    rng = random.Random(seed)
    return [_stock(rng), _longest_run(rng), _joined(rng), _moods(rng), _config(rng), _turnover(rng)]


def is_right(task: Task, text: str) -> bool:
    """Whether a short text has the right answer as a word, and where that is a number no other number."""
    if len(text) > _MOST_CHARS:
        return False
    words = [word.strip(".:-").casefold() for word in _WORD.findall(text.replace(",", ""))]
    numbers = {float(word) for word in words if re.fullmatch(r"\d+(\.\d+)?", word)}
    if re.fullmatch(r"\d+(\.\d+)?", task.answer):
        return len(numbers) == 1 and abs(numbers.pop() - float(task.answer)) < 0.006
    return task.answer.casefold() in words


def load(path: Path | None) -> Exam:
    """The exam of a file, or the project's own."""
    if path is None:
        return Exam(tasks=own_tasks, is_right=is_right)
    spec = importlib.util.spec_from_file_location("tasks_of_a_file", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return Exam(tasks=module.all_tasks, is_right=getattr(module, "is_right", is_right))


def _stock(rng: random.Random) -> Task:
    shelves = {f"shelf {n}": {item: rng.randrange(40) for item in ("nuts", "bolts", "nails")} for n in range(30)}
    total = sum(shelf["bolts"] for shelf in shelves.values())
    return OwnTask(name="stock", prompt="How many bolts are there on all shelves?", context=shelves, answer=str(total))


def _longest_run(rng: random.Random) -> Task:
    days = [rng.choice(("dry", "dry", "rain")) for _ in range(200)]
    longest = max(map(len, "".join("r" if day == "rain" else " " for day in days).split()))
    text = "\n".join(f"day {number}: {day}" for number, day in enumerate(days, 1))
    return OwnTask(
        name="longest-run",
        prompt="How many days long was the longest spell of rain?",
        context=text,
        answer=str(longest),
    )


def _joined(rng: random.Random) -> Task:
    names = [f"P{number:02d}" for number in range(20)]
    homes = {name: rng.choice(("Lyon", "Turin", "Basel")) for name in names}
    sales = [(rng.choice(names), rng.randrange(5, 90)) for _ in range(150)]
    files = {
        "people.csv": "person,city\n" + "".join(f"{name},{city}\n" for name, city in homes.items()),
        "sales.csv": "person,amount\n" + "".join(f"{name},{amount}\n" for name, amount in sales),
    }
    total = sum(amount for name, amount in sales if homes[name] == "Turin")
    return OwnTask(
        name="joined-files", prompt="What is the sum of all sales of people in Turin?", context=files, answer=str(total)
    )


def _moods(rng: random.Random) -> Task:
    glad = ("We had a lovely evening.", "What a splendid meal!", "The staff could not have been kinder.")
    cross = ("We waited an hour for cold soup.", "Never again.", "The room smelt of damp.")
    notes = [(rng.choice(cross), 1) if rng.random() < 0.4 else (rng.choice(glad), 0) for _ in range(16)]
    return OwnTask(
        name="moods",
        prompt="How many of the guests' notes are complaints? Read each with llm_query or llm_map.",
        context=[text for text, _ in notes],
        answer=str(sum(count for _, count in notes)),
    )


def _config(rng: random.Random) -> Task:
    ports = rng.sample(range(2_000, 9_000), 25)
    text = "\n".join(
        f"[service.{name}]\nport = {port}\nlog = true\n" for name, port in zip(_names(rng), ports, strict=True)
    )
    name, port = re.findall(r"\[service\.(\w+)\]\nport = (\d+)", text)[rng.randrange(25)]
    return OwnTask(name="config", prompt=f"Which service listens on port {port}?", context=text, answer=name)


def _turnover(rng: random.Random) -> Task:
    months = {f"2026-{month:02d}": [rng.randrange(100, 900) for _ in range(20)] for month in range(1, 13)}
    best = max(months, key=lambda month: sum(months[month]))
    rows = [{"month": month, "amount": amount} for month, amounts in months.items() for amount in amounts]
    rng.shuffle(rows)
    return OwnTask(
        name="best-month",
        prompt="Which month has the highest total amount? Give it as YYYY-MM.",
        context=rows,
        answer=best,
    )


def _names(rng: random.Random) -> list[str]:
    syllables = ("ka", "lo", "mi", "ru", "te", "vo", "sa", "ne")
    found: set[str] = set()
    while len(found) < 25:
        found.add("".join(rng.choices(syllables, k=3)))
    return sorted(found)
