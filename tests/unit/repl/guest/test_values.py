"""What is told of the variables in the line that failed."""

import sys
from collections import Counter

import pytest

from rlm.repl.guest.values import nearest, values_in


class Loud:
    def __repr__(self) -> str:
        raise AssertionError("what a type says of itself is never asked for")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nb", r"'a\nb'"),
        ("x" * 500, f"a str of 500, which begins '{'x' * 160}'"),
        (b"x", "b'x'"),
        (-7, "-7"),
        (10**400, "a very large int"),
        (None, "None"),
        ([], "an empty list"),
        ([{"id": 1, "at": 2}] * 1_000, "a list of 1,000, the first a dict of 2, with keys 'id', 'at'"),
        ({1, 2}, "a set of 2"),
        ([[[[1]]]], "a list of 1, the first a list of 1, the first a list of 1, the first a list of 1"),
        ((Loud(),), "a tuple of 1, the first <Loud>"),
        (Loud(), None),
        (Counter("a"), None),
        (len, None),
    ],
)
def test_a_value_is_shown_in_short(value: object, shown: str | None) -> None:
    assert values_in("value['x'].value + other", sys._getframe()) == ("" if shown is None else f"value = {shown}")


def test_only_the_first_names_of_a_line_are_shown() -> None:
    a, b, c, d, e, f = range(6)
    assert values_in("f(a, b, c, d, e, f) + a", sys._getframe()) == "f = 5; a = 0; b = 1; c = 2; d = 3"
    assert (a, b, c, d, e, f) == (0, 1, 2, 3, 4, 5)


def test_variables_of_the_cell_are_found_from_a_function_of_it() -> None:
    assert values_in("CELL + 1", sys._getframe()) == "CELL = 'set'"


def test_a_name_that_is_missing_is_held_against_those_that_are_there() -> None:
    tooks = [1]
    assert nearest("takes", sys._getframe()) == "tooks"
    assert nearest("zork", sys._getframe()) == nearest(None, sys._getframe()) == ""
    assert tooks == [1]


CELL = "set"
