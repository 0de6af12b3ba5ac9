"""The facts that a transformation returns: how many files and places changed, and where its user should look."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rlm.core.types import Json

LISTED = 200


def changed(counts: Mapping[str, int], *, each: str, total: str) -> dict[str, Json]:
    """How many places changed in each file, as `each`, and in all, as `total`; only the first files are listed."""
    rows: list[Json] = [{"file": file, each: count} for file, count in counts.items()]
    facts: dict[str, Json] = {"files_modified": len(rows), total: sum(counts.values()), "files": rows[:LISTED]}
    return facts | ({"files_not_listed": len(rows) - LISTED} if len(rows) > LISTED else {})


def by_hand(places: Iterable[tuple[str, int]]) -> dict[str, Json]:
    """The files and lines that a user should check, each once, in order; empty without any."""
    return lines_of_files("check_by_hand", places)


def lines_of_files(key: str, places: Iterable[tuple[str, int]]) -> dict[str, Json]:
    """Files and lines under a key, each once, in order, and how many more there are; empty without any."""
    listed: list[Json] = [f"{file}:{line}" for file, line in sorted(set(places))]
    facts: dict[str, Json] = {key: listed[:LISTED]} if listed else {}
    return facts | ({f"{key}_not_listed": len(listed) - LISTED} if len(listed) > LISTED else {})
