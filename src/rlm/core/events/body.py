"""What every body of an event has."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class Body(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of all bodies."""

    TYPE: ClassVar[str]
    """The type of the event that carries it."""


class Keyed(Body, frozen=True):
    """The base of what a resumed run serves from the record."""

    key: str | None = None
    """What was asked and how often before in this turn or cell, as a salted digest: the same when asked once more."""
