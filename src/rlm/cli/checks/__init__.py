"""The checks of `rlm doctor`, and what each of them found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was looked at, and what was found."""

    name: str
    ok: bool
    detail: str
    exit_code: int = 0
    """The exit code of a run that fails because of this; 0 if a run could work all the same."""
    hint: str = ""
    """How to get what is missing."""
    part_of: str = ""
    """The sandbox that this is a part of."""
