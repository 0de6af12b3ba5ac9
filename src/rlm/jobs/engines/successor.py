"""The ids of runs that go on with others: known from the id of the first, so that their records are found by it."""

from __future__ import annotations

import hashlib


def next_run_id(run_id: str) -> str:
    """The id of the run that goes on with this one, or does its work again."""
    return hashlib.sha256(f"{run_id}/next".encode()).hexdigest()[:32]
