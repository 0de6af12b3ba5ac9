"""The tasks that were done, as the records of their lists have them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from rlm.core.exceptions import ConfigError
from rlm.trajectory.task_lists import list_records, past_of

if TYPE_CHECKING:
    from pathlib import Path


class HistoryRow(Struct, frozen=True, kw_only=True):
    """A task that was done."""

    task: str
    state: str
    list_id: str
    list_name: str
    run_id: str
    started_at: float
    """When its list began, in seconds since the epoch."""
    duration_s: float
    attempts: int
    tokens: int
    cost_usd: float | None
    is_valid: bool | None
    error: str | None
    response: str
    """The beginning of its answer."""


_RESPONSE_CHARS = 500


def history(folder: Path, limit: int) -> list[HistoryRow]:
    """The last tasks whose lists have records in a folder, the newest first."""
    found: list[HistoryRow] = []
    for record in list_records(folder):
        if len(found) >= limit:
            break
        try:
            past = past_of(record)
        except ConfigError:
            continue
        rows = [
            HistoryRow(
                task=name,
                state=end.state,
                list_id=past.id,
                list_name=past.start.name,
                run_id=end.run,
                started_at=past.started_at,
                duration_s=end.duration_s,
                attempts=end.attempts,
                tokens=end.tokens,
                cost_usd=end.cost_usd,
                is_valid=end.is_valid,
                error=end.error,
                response=end.response[:_RESPONSE_CHARS],
            )
            for name, end in past.ended.items()
            if name in past.ended_here
        ]
        found += rows[::-1]
    return found[:limit]


def as_text(rows: list[HistoryRow], form: str) -> str:
    """Rows as a JSON list, or as CSV with a header.

    Raises:
        ConfigError: the form is neither json nor csv.
    """
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(rows), indent=2).decode()
    if form != "csv":
        raise ConfigError(f"format: expected json or csv, got {form!r}")
    out = io.StringIO()
    writer = csv.DictWriter(out, HistoryRow.__struct_fields__, lineterminator="\n")
    writer.writeheader()
    writer.writerows(msgspec.structs.asdict(row) for row in rows)
    return out.getvalue()
