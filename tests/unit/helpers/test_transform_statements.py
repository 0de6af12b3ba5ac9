"""Debug statements go, docstrings come, imports change; the code parses and says otherwise what it said."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import transform

if TYPE_CHECKING:
    from pathlib import Path


def without_debug(tree: Path, before: str, **options: Any) -> str:
    (tree / "a.py").write_text(before)
    transform.remove_debug_statements("a.py", **options)
    return (tree / "a.py").read_text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1\nprint(x)  # see\ny = 2\n", "x = 1\ny = 2\n"),
        ("if x:\n    print(\n        x\n    )\n", "if x:\n    pass\n"),
        ("if x: print(x)\nelse: y\n", "if x: pass\nelse: y\n"),
        ("def f():\n    print(1)\n    print(2)\n", "def f():\n    pass\n"),
        ("x = 1; print(x)\n", "x = 1\n"),
        ("print(x); y = 2\n", "y = 2\n"),
        ("x; print(1); y\n", "x; y\n"),
        ("print(1);\n", ""),
        ("import pdb; pdb.set_trace()\nx = 1\n", "x = 1\n"),
        ("import pdb\ndef f():\n    breakpoint()\n    return pdb\n", "import pdb\ndef f():\n    return pdb\n"),
        ("print(x, file=log)\nprint(x, file=sys.stderr)\n", "print(x, file=log)\n"),
        ("print(y := 3)\nasync def f(): print(await x)\n", "print(y := 3)\nasync def f(): print(await x)\n"),
        ("def print(x): ...\nprint(1)\n", "def print(x): ...\nprint(1)\n"),
        ("x = print\nself.print(1)\nprint\n", "x = print\nself.print(1)\nprint\n"),
        ("logger.debug('x')\n", "logger.debug('x')\n"),
        ("s = 'print(1)'  # print(2)\n", "s = 'print(1)'  # print(2)\n"),
    ],
)
def test_debug_statements_go_and_nothing_else(tree: Path, before: str, after: str) -> None:
    assert without_debug(tree, before) == after


def test_kinds_are_chosen_by_name(tree: Path) -> None:
    before = "print(1)\nself._logger.debug('x')\nlogger.info('y')\n"
    assert without_debug(tree, before, kinds=["logging"]) == "print(1)\nlogger.info('y')\n"
    with pytest.raises(ToolError, match="no 'prints'"):
        transform.remove_debug_statements("a.py", kinds=["prints"])


def test_prints_that_called_something_are_listed(tree: Path) -> None:
    (tree / "a.py").write_text("print(len(x))\nprint(save())\n")
    assert transform.remove_debug_statements("a.py")["check_by_hand"] == ["a.py:2"]


SIGNATURES = '''\
def getUserData(user_id: int, *rest, flag="a", **more) -> "dict[str, int]":
    # why
    if not user_id:
        raise ValueError("x")
    return {}
class A:
    def one(self): return 1
    @overload
    def two(self): ...
    def __len__(self): return 0
    def three(self):
        """Is there."""
'''


@pytest.mark.parametrize("style", ["google", "numpy", "sphinx"])
def test_docstrings_are_made_of_the_signature(tree: Path, style: str) -> None:
    (tree / "a.py").write_text(SIGNATURES)
    assert transform.add_docstrings("a.py", style=style)["docstrings_added"] == 2
    function = ast.parse((tree / "a.py").read_text()).body[0]
    assert isinstance(function, ast.FunctionDef)
    said = ast.get_docstring(function) or ""
    assert said.startswith("Get user data.\n\n")
    assert all(word in said for word in ("user_id", "int", "flag", "rest", "more", "ValueError", "dict[str, int]"))
    assert {"google": "Args:", "numpy": "Parameters\n----------", "sphinx": ":param user_id:"}[style] in said


def test_a_function_on_one_line_gets_lines_of_its_own(tree: Path) -> None:
    (tree / "a.py").write_bytes(b"class A:\r\n\tdef one(self): return 1  # a\r\n")
    transform.add_docstrings("a.py")
    expected = (
        '\tdef one(self):\r\n\t\t"""One.\r\n\r\n\t\tReturns:\r\n\t\t    The result.\r\n\t\t"""\r\n\t\treturn 1  # a\r\n'
    )
    assert (tree / "a.py").read_bytes().decode() == "class A:\r\n" + expected


def test_docstrings_are_added_once(tree: Path) -> None:
    (tree / "a.py").write_text(SIGNATURES)
    transform.add_docstrings(".")
    assert transform.add_docstrings(".")["files_modified"] == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from old.mod import x\n", "from new.place import x\n"),
        ("from old.mod.sub import x\n", "from new.place.sub import x\n"),
        ("from old.module import x\n", "from old.module import x\n"),
        ("import old.mod, sys\nold.mod.f(x.old.mod)\n", "import new.place, sys\nnew.place.f(x.old.mod)\n"),
        ("import old.mod as m\nm.f()\n", "import new.place as m\nm.f()\n"),
        ("from old import mod\nmod.f()\n", "from new import place as mod\nmod.f()\n"),
        ("from .old.mod import x\n", "from .old.mod import x\n"),
        ("import old.mod, old.other\nold.mod.f(old.other)\n", "import new.place, old.other\nnew.place.f(old.other)\n"),
        ("x = 'old.mod'\n", "x = 'old.mod'\n"),
    ],
)
def test_imports_change_with_the_uses_by_path(tree: Path, before: str, after: str) -> None:
    (tree / "a.py").write_text(before)
    transform.change_imports(".", "old.mod", "new.place")
    assert (tree / "a.py").read_text() == after


def test_uses_that_can_not_be_changed_refuse_the_whole(tree: Path) -> None:
    (tree / "a.py").write_text("from old.mod import x\n")
    (tree / "b.py").write_text("import old.mod\nf(old)\n")
    with pytest.raises(ToolError, match=r"b.py:2: .*nothing was changed"):
        transform.change_imports(".", "old.mod", "new.place")
    assert (tree / "a.py").read_text() == "from old.mod import x\n"


def test_a_batch_sees_its_own_changes_and_is_written_whole(tree: Path) -> None:
    (tree / "a.py").write_text("def old(x):\n    print(x)\n    return x\n")
    steps = [
        {"operation": "rename_identifier", "pattern": ".", "old_name": "old", "new_name": "middle"},
        {"operation": "rename_identifier", "pattern": ".", "old_name": "middle", "new_name": "new"},
        {"operation": "remove_debug_statements", "path": "a.py"},
    ]
    assert "+def new(x):" in transform.batch(steps, dry_run=True)["diff"]
    assert transform.batch(steps)["files_modified"] == 1
    assert (tree / "a.py").read_text() == "def new(x):\n    return x\n"


def test_a_batch_that_fails_writes_nothing(tree: Path) -> None:
    (tree / "a.py").write_text("def old(x):\n    print(x)\n")
    steps = [
        {"operation": "remove_debug_statements"},
        {"operation": "rename_identifier", "pattern": ".", "old_name": "old", "new_name": "class"},
    ]
    with pytest.raises(ToolError, match=r"operations\[1\]"):
        transform.batch(steps)
    assert "print" in (tree / "a.py").read_text()
