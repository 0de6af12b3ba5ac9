"""What models write runs under `relaxed`, and means what it means in Python."""

from __future__ import annotations

import contextlib
import io
import sys
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tests.unit.repl.guest.policy.policies import Cell, cells, run

if TYPE_CHECKING:
    from collections.abc import Callable

FROM_3_12 = {"type parameters"}

RUNNABLE = [c for c in cells("relaxed_cells.txt") if sys.version_info >= (3, 12) or c.name not in FROM_3_12]


def printed_by(run_cell: Callable[[str], object], cell: Cell) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run_cell(cell.code)
    return out.getvalue().strip("\n")


@pytest.mark.parametrize("cell", RUNNABLE, ids=lambda cell: cell.name)
def test_what_models_write_runs(cell: Cell) -> None:
    assert printed_by(run, cell) == cell.outcome


@pytest.mark.parametrize("cell", RUNNABLE, ids=lambda cell: cell.name)
def test_it_means_what_it_means_in_python(cell: Cell) -> None:
    def run_plain(code: str) -> None:
        module = sys.modules["plain"] = ModuleType("plain")
        module.__dict__["__name__"] = "__main__"
        exec(compile(code, "<cell>", "exec", dont_inherit=True), module.__dict__)

    assert printed_by(run_plain, cell) == cell.outcome


@pytest.mark.parametrize("cell", cells("package_cells.txt"), ids=lambda cell: cell.name)
def test_packages_that_the_user_allows_run(cell: Cell) -> None:
    assert printed_by(partial(run, imports=("numpy", "pandas")), cell) == cell.outcome
