"""One finding of `rlm doctor`, whoever made it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was looked at, and what was found."""

    name: str
    ok: bool
    detail: str
    exit_code: int = 0
    """What a run would exit with because of it; 0 with `ok` false is worth knowing and stops nothing."""
    hint: str = ""
    """How to get what is missing."""
    part_of: str = ""
    """The sandbox that this is a part of."""
