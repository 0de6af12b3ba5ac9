"""For programs drawn at random: a rename can be taken back to the byte and changes nothing that a program does."""

from __future__ import annotations

import ast
import symtable
import tempfile
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, event, example, given
from hypothesis import strategies as st

from rlm.core.exceptions import ToolError
from rlm.core.paths import Confined
from rlm.helpers.changes import Edit
from rlm.helpers.facts.names import Names
from rlm.helpers.operation_table import find
from rlm.helpers.workspace import Workspace
from tests.support.generated_python import NAMES, outcome, parses, programs

if TYPE_CHECKING:
    from collections.abc import Iterator

names = st.sampled_from(NAMES)


def changed(program: str, operation: str, **arguments: Any) -> str:
    """A program as an operation leaves it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.py").write_bytes(program.encode())
        edit = find(operation)(Workspace(confined=Confined([folder])), **arguments)
    assert isinstance(edit, Edit)
    after = [change.after for change in edit.changes]
    return after[0].decode() if after and after[0] is not None else program


def rename(program: str, old: str, new: str) -> str:
    return changed(program, "transform.rename_identifier", pattern=".", old_name=old, new_name=new)


@given(programs(), names)
@example("alpha = 1\nclass beta:\n    alpha = alpha\n    show(alpha)\n", "alpha")
def test_a_rename_changes_nothing_that_the_program_does_and_can_be_taken_back(program: str, old: str) -> None:
    after = rename_or_refuse(program, old, "renamed_name")
    event("changed" if after != program else "same")
    assert outcome(after) == outcome(program)
    if after != program:
        assert rename(after, "renamed_name", old) == program


def rename_or_refuse(program: str, old: str, new: str) -> str:
    """As `rename`; a refusal leaves the program."""
    try:
        return rename(program, old, new)
    except ToolError as error:
        if "nothing was changed" not in str(error):
            raise
        event("refused")
        return program


@given(programs(), names, names)
def test_a_rename_to_a_name_in_use_is_refused_or_changes_nothing(program: str, old: str, new: str) -> None:
    assume(old != new)
    assert outcome(rename_or_refuse(program, old, new)) == outcome(program)


@given(programs(), st.sampled_from(NAMES[:2]), st.sampled_from([*NAMES, "renamed_name"]))
@example("class alpha:\n    alpha = alpha\n", "alpha", "gamma")
def test_a_local_rename_changes_nothing_that_the_program_does(program: str, old: str, new: str) -> None:
    assume(old != new)
    program = f"def around({NAMES[0]}=1, *, {NAMES[1]}=2):\n{indent(program, '    ')}around({NAMES[0]}=3)\n"
    assume(parses(program))
    after = rename_or_refuse(program, f"a.py::around.{old}", new)
    assert outcome(after) == outcome(program)


@given(programs(), st.sampled_from(["google", "numpy", "sphinx"]))
def test_docstrings_change_nothing_and_debug_statements_go_alone(program: str, style: str) -> None:
    after = changed(program, "transform.add_docstrings", style=style)
    assert outcome(after) == outcome(program)
    assert changed(after, "transform.add_docstrings", style=style) == after
    without = changed(after, "transform.remove_debug_statements")
    ast.parse(without)
    assert changed(without, "transform.remove_debug_statements") == without


@given(programs(), names)
def test_scopes_are_those_of_the_compiler(program: str, name: str) -> None:
    found = Names(ast.parse(program), {name})
    ours = sorted(each.qualname for each in found.scopes if each.kind == "function" and _is_local(found, each, name))
    theirs = sorted(
        where for where, table in _functions(symtable.symtable(program, "a", "exec"), "") if _local(table, name)
    )
    assert ours == theirs


def _is_local(found: Names, scope: Any, name: str) -> bool:
    return name in scope.bound and name not in scope.globals and name not in scope.nonlocals


def _functions(table: symtable.SymbolTable, prefix: str) -> Iterator[tuple[str, symtable.SymbolTable]]:
    for child in table.get_children():
        name = {"lambda": "<lambda>"}.get(child.get_name(), child.get_name())
        is_comprehension = name in ("listcomp", "setcomp", "dictcomp", "genexpr")
        where = prefix if is_comprehension else f"{prefix}.{name}" if prefix else name
        if child.get_type() == "function" and not is_comprehension:
            yield where, child
        yield from _functions(child, where)


def _local(table: symtable.SymbolTable, name: str) -> bool:
    return name in table.get_identifiers() and table.lookup(name).is_local()


@pytest.mark.parametrize("module", ["argparse", "typing", "dataclasses", "asyncio.events", "enum", "inspect"])
def test_every_name_of_a_real_module_can_be_renamed_and_back(module: str) -> None:
    import importlib

    path = importlib.import_module(module).__file__
    assert path is not None
    program = Path(path).read_text()
    tops = [node.name for node in ast.parse(program).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    for name in tops[:: max(1, len(tops) // 4)][:4]:
        after = rename(program, name, "renamed_name")
        ast.parse(after)
        assert rename(after, "renamed_name", name) == program
