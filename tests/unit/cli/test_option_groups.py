from __future__ import annotations

import inspect
from dataclasses import dataclass, field

import pytest

from rlm.cli.option_groups import grouped


@dataclass(frozen=True, slots=True, kw_only=True)
class Colours:
    names: list[str] = field(default_factory=list)
    bright: bool


def paint(colours: Colours, wall: str = "north") -> int:
    """Paint."""
    return len(colours.names) + len(wall)


def test_a_group_is_spread_out_in_the_signature() -> None:
    parameters = inspect.signature(grouped(paint)).parameters
    assert [(p.name, p.annotation, p.default) for p in parameters.values()] == [
        ("names", list[str], []),
        ("bright", bool, inspect.Parameter.empty),
        ("wall", str, "north"),
    ]
    assert grouped(paint).__doc__ == "Paint."


def test_values_come_back_together() -> None:
    assert grouped(paint)(names=["red"], bright=True, wall="west") == 5
    with pytest.raises(KeyError):
        grouped(paint)(names=["red"], wall="west")
