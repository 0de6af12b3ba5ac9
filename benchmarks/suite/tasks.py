"""Synthetic tasks over generated contexts. Each answer is computed from the records themselves, never from the context
that a model sees, and the same seed gives the same tasks on every machine."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Shape: TypeAlias = Literal["text", "files", "list"]
Record: TypeAlias = dict[str, str]
Context: TypeAlias = str | dict[str, str] | list[Record]

SHAPES: tuple[Shape, ...] = ("text", "files", "list")
CITIES = ("Oslo", "Lima", "Turin", "Quito", "Perth", "Kyoto")
STATUSES = ("open", "closed", "late", "void")
RECORDS_PER_FILE = 15
CODE_WORDS = ("amber", "basalt", "cobalt", "damask", "ember", "fjord", "garnet", "heron")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One question with its answer."""

    name: str
    """Unique in the suite, and part of `prompt`."""
    prompt: str
    context: Context
    shape: Shape
    answer: str
    solution: str
    """Python that sets `answer`, given `records`: what a competent model would write."""

    def accepts(self, response: str) -> bool:
        """Whether the answer stands in `response` by itself, and no other one: a few words around it do no harm."""
        said = set(re.findall(r"[\w-]+(?:, [\w-]+-[\w-]+)*", response)) & self._rivals()
        return said == {self.answer}

    def _rivals(self) -> set[str]:
        """What might be taken for an answer: the right one, and whatever has its form."""
        return {self.answer, *WRONG_ANSWERS}


WRONG_ANSWERS = ("987654", "Atlantis", "u0-o0")
"""What a model that invents says."""


def suite(seed: int, *, per_kind: int = 4, records: int = 60) -> list[Task]:
    """`per_kind` tasks of every kind over every context shape, about `records` records in each context."""
    rng = random.Random(seed)
    return [
        make(rng, shape, f"{kind}-{shape}-{number}", records)
        for kind, make in KINDS.items()
        for shape in SHAPES
        for number in range(per_kind)
    ]


def needle(rng: random.Random, shape: Shape, name: str, size: int) -> Task:
    """One fact, planted once."""
    records = orders(rng, size)
    word, key = "-".join(rng.sample(CODE_WORDS, 2)), f"vault{rng.randint(10, 99)}"
    records[rng.randrange(len(records))]["note"] = f"code of {key} is {word}"
    return Task(
        name=name,
        prompt=f"[{name}] One record has a note with the code of {key}. What is the code?",
        context=laid_out(records, shape),
        shape=shape,
        answer=word,
        solution=f"notes = [r['note'] for r in records if r.get('note', '').startswith('code of {key} is')]\n"
        'answer = notes[0].split("is ")[1]',
    )


def counting(rng: random.Random, shape: Shape, name: str, size: int) -> Task:
    """How many records match two conditions; read by Python, or by a sub-model part by part."""
    records = orders(rng, size)
    city, status = rng.choice(CITIES[:3]), rng.choice(STATUSES[:2])
    count = sum(r["city"] == city and r["status"] == status for r in records)
    by_python = f"answer = len([r for r in records if r['city'] == '{city}' and r['status'] == '{status}'])"
    return Task(
        name=name,
        prompt=f"[{name}] How many records have city {city} and status {status}?",
        context=laid_out(records, shape),
        shape=shape,
        answer=str(count),
        solution=by_python if rng.random() < 0.5 else _by_sub_model(city, status),
    )


def grouping(rng: random.Random, shape: Shape, name: str, size: int) -> Task:
    """The most frequent value of a field among the records that match."""
    records = orders(rng, size)
    status = rng.choice(STATUSES[:2])
    top = rng.choice(CITIES)
    chosen = [record for record in records if record["status"] == status]
    lead = max(Counter(record["city"] for record in chosen).values(), default=0) + 1
    records += [_order(rng, len(records) + n, city=top, status=status) for n in range(lead)]
    (answer, _), *_ = Counter(r["city"] for r in records if r["status"] == status).most_common()
    return Task(
        name=name,
        prompt=f"[{name}] Which city is the most frequent among the records with status {status}?",
        context=laid_out(records, shape),
        shape=shape,
        answer=answer,
        solution="from collections import Counter\n"
        f"cities = Counter(r['city'] for r in records if r['status'] == '{status}')\n"
        "answer = cities.most_common(1)[0][0]",
    )


def pair_joining(rng: random.Random, shape: Shape, name: str, size: int) -> Task:
    """The pairs of a user and an order, related by a key, that match on both sides."""
    users = [{"id": f"u{n}", "tier": rng.choice(("gold", "tin")), "country": rng.choice(CITIES)} for n in range(10)]
    records = orders(rng, size)
    for record in records:
        record |= {"user": rng.choice(users)["id"], "status": rng.choice(STATUSES[2:])}
    for chosen in rng.sample(records, 3):
        chosen |= {"user": (owner := rng.choice(users))["id"], "status": "open"}
        owner["tier"] = "gold"
    gold = {user["id"] for user in users if user["tier"] == "gold"}
    pairs = sorted(f"{r['user']}-{r['id']}" for r in records if r["user"] in gold and r["status"] == "open")
    mixed = [*users, *records]
    rng.shuffle(mixed)
    return Task(
        name=name,
        prompt=f"[{name}] List the pairs user-order (such as u0-o0, sorted as text, joined by ', ') where the user has "
        "tier gold and the order has status open.",
        context=laid_out(mixed, shape),
        shape=shape,
        answer=", ".join(pairs),
        solution="gold = {r['id'] for r in records if r.get('tier') == 'gold'}\n"
        "pairs = [r['user'] + '-' + r['id'] for r in records if r.get('user') in gold and r['status'] == 'open']\n"
        "answer = ', '.join(sorted(pairs))",
    )


KINDS: dict[str, Callable[[random.Random, Shape, str, int], Task]] = {
    "needle": needle,
    "counting": counting,
    "grouping": grouping,
    "pair-joining": pair_joining,
}


def orders(rng: random.Random, size: int) -> list[Record]:
    return [_order(rng, n, city=rng.choice(CITIES), status=rng.choice(STATUSES)) for n in range(size)]


def laid_out(records: Sequence[Record], shape: Shape) -> Context:
    """The records in the shape that a model gets them in."""
    if shape == "list":
        return [dict(record) for record in records]
    if shape == "text":
        return "\n".join(_lines(records))
    parts = range(0, len(records), RECORDS_PER_FILE)
    return {f"part{n:03}.txt": "\n".join(_lines(records[n : n + RECORDS_PER_FILE])) for n in parts}


def _lines(records: Sequence[Record]) -> Iterator[str]:
    return (" | ".join(f"{key}={value}" for key, value in record.items()) for record in records)


def _order(rng: random.Random, number: int, *, city: str, status: str) -> Record:
    return {"id": f"o{number}", "city": city, "status": status, "amount": str(rng.randint(1, 999))}


def _by_sub_model(city: str, status: str) -> str:
    """Code that has a sub-model count in parts; see `policy.sub_model`."""
    return (
        'lines = [" | ".join(f"{k}={v}" for k, v in r.items()) for r in records]\n'
        'parts = ["\\n".join(lines[n:n + 25]) for n in range(0, len(lines), 25)]\n'
        f'question = "Count the lines with city={city} and status={status}; answer with a number."\n'
        'answer = sum(int(n) for n in llm_query_batched([question + "\\n" + part for part in parts]))'
    )
