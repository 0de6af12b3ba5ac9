"""Cells for the tests of the policies: tables of them in text files, and how to run one in this process.

It is the policy alone that they meet here, without the sandbox that stands behind it.
"""

from __future__ import annotations

import ast
import sys
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from rlm.repl.guest.policy.restricted import RestrictedPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

Level = Literal["strict", "relaxed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A section `=== name`, its code, and after `--- prints` or `--- raises` what it comes to."""

    name: str
    code: str
    outcome: str


def cells(table: str) -> list[Cell]:
    """The cells of a file beside this one."""
    text = (Path(__file__).parent / table).read_text(encoding="utf-8")
    return list(_sections(text))


def _sections(text: str) -> Iterator[Cell]:
    for section in text.removeprefix("=== ").split("\n=== "):
        name, _, rest = section.partition("\n")
        code, _, outcome = rest.partition("\n--- ")
        yield Cell(name=name, code=code, outcome=outcome.partition("\n")[2].strip("\n"))


@cache
def policy(level: Level, imports: tuple[str, ...] = ()) -> RestrictedPolicy:
    return RestrictedPolicy(level, imports)


def fresh(level: Level = "relaxed", imports: tuple[str, ...] = ()) -> dict[str, Any]:
    """The namespace of a new REPL, registered as the guest registers it."""
    module = ModuleType("__repl__")
    sys.modules["__repl__"] = module
    module.__dict__.update(policy(level, imports).namespace())
    return module.__dict__


def run(
    code: str, level: Level = "relaxed", imports: tuple[str, ...] = (), names: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Run a cell; the namespace it leaves."""
    namespace = fresh(level, imports) if names is None else names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        tree = ast.parse(code)
    exec(policy(level, imports).compile(tree, "<cell 1>"), namespace)
    return namespace
