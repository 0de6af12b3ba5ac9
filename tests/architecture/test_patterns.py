"""No possessive repeat of a group: early versions of Python 3.11 go on where its last, failed round ended, and so find
too much (3.11.2, Debian 12's, does; 3.11.7 doesn't).

Of a class, as in `[a-z]++`, it is sound in every version.
"""

from __future__ import annotations

import re

import pytest

from tests.architecture.sources import listed, modules

POSSESSIVE_GROUP = re.compile(r"(?<!\\)\)(?:[*+?]|\{[\d,{}]+\})\+|\(\?>")


def test_no_group_is_repeated_possessively() -> None:
    lines = [(module.at(n), line) for module in modules() for n, line in enumerate(module.text.splitlines(), 1)]
    found = [f"{place}: {line.strip()}" for place, line in lines if POSSESSIVE_GROUP.search(line)]
    assert not found, listed(found)


@pytest.mark.parametrize("written", [r"(?:a|b)*+", r"(ab){1,3}+", "(?:x{2}){{0,2}}+", "(?>a)"])
def test_what_is_looked_for_is_found(written: str) -> None:
    assert POSSESSIVE_GROUP.search(written)
