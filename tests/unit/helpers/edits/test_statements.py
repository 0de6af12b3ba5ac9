"""Debug statements go, docstrings come, imports change; the code parses and says otherwise what it said."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.exceptions import ToolError
from rlm.core.paths import Confined
from rlm.helpers import code, fs, transform
from rlm.helpers.changes import Edit
from rlm.helpers.edits.rewrites import Rewrite, RewritePlan
from rlm.helpers.edits.spans import TextSpan
from rlm.helpers.operation_table import find
from rlm.helpers.workspace import Workspace

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
        ("if c:\n    x = 1; \\\n    print(x)\ny = 2\n", "if c:\n    x = 1; \\\n    pass\ny = 2\n"),
        ("def f():\n\x0c    print(1)\n    y\n", "def f():\n    y\n"),
        ("pdb = load()\npdb.trace()\n", "pdb = load()\npdb.trace()\n"),
        ("from pdb import set_trace\nset_trace()\nx\n", "x\n"),
        ("import pdb as p\np.set_trace()\nx\n", "x\n"),
        ("from pdb import Pdb\nimport pdb, sys\npdb.set_trace()\n", "from pdb import Pdb\nimport pdb, sys\n"),
        ("__import__('pdb').set_trace()\n__import__('x').set_trace()\n", "__import__('x').set_trace()\n"),
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


@pytest.mark.parametrize(
    "header",
    [
        "def f():",
        "def f(x: int = (1)) -> (int):  # what: it is",
        "def f(\n    x,  # a: b\n    /,\n):",
        "def f(x=':', *more: 'a:b') -> dict[str, int]:",
        "async def f(x) -> 'a: b':",
    ],
)
def test_docstrings_stand_directly_below_the_header(tree: Path, header: str) -> None:
    (tree / "a.py").write_text(f"{header}\n    # why\n\n    return 1\n")
    transform.add_docstrings("a.py")
    text = (tree / "a.py").read_text()
    assert text.startswith(f'{header}\n    """F.')
    assert text.endswith("\n    # why\n\n    return 1\n")


def test_overloads_get_no_docstring_however_they_are_called(tree: Path) -> None:
    text = (
        "import typing as t\nfrom typing import overload as many, overload\n\n"
        "@many\ndef f(x: int) -> int: ...\n@t.overload\ndef f(x: str) -> str: ...\n@overload\ndef f(x): ...\n"
    )
    (tree / "a.py").write_text(text + "def f(x):\n    return x\n")
    assert transform.add_docstrings("a.py")["docstrings_added"] == 1
    assert (tree / "a.py").read_text().startswith(text)


def test_docstrings_are_added_once(tree: Path) -> None:
    (tree / "a.py").write_text(SIGNATURES)
    transform.add_docstrings(".")
    assert transform.add_docstrings(".")["files_modified"] == 0


@pytest.mark.parametrize(
    ("before", "names"),
    [
        ("def f(): \\\n    return 1\n", ["f"]),
        ("def f():\n\x0c    return 1\n", ["f"]),
        ("def f(a,\n  b):  # why\n    # c\n    return 1\n", ["f"]),
        ("def f():\n    @(\n dec)\n    def g(): ...\n    return g\n", ["f"]),
        ("with x:\n    def f(): ...\ntry: x\nexcept E:\n    def g(): ...\n", ["f", "g"]),
        ("class A:\n    @x.setter\n    def x(self, v): ...\n    async def f(self): a; yield 1\n", ["f"]),
        ("if x:\n\tdef f(): a = 1; return a\nelse:\n\tdef f(): ...\n", ["f", "f"]),
        ("def f():\n    r'Is there.'\ndef g():\n    b'none'\ndef h():\n    f'none'\n", ["g", "h"]),
        ("def größe(naïve): ...\n", ["größe"]),
    ],
)
def test_docstrings_leave_the_rest_as_it_was(tree: Path, before: str, names: list[str]) -> None:
    (tree / "a.py").write_text(before)
    transform.add_docstrings("a.py")
    after = ast.parse((tree / "a.py").read_text())
    functions = [node for node in ast.walk(after) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    given = [node for node in functions if ast.get_docstring(node) not in (None, "Is there.")]
    for node in given:
        del node.body[0]
    assert [node.name for node in given] == names
    assert ast.dump(after) == ast.dump(ast.parse(before))


@pytest.mark.parametrize(
    ("name", "summary"),
    [("getHTTPResponse", "Get HTTP response."), ("größe_x2", "Größe x2."), ("_load", "Load."), ("_", "_.")],
)
def test_a_name_is_told_in_words(tree: Path, name: str, summary: str) -> None:
    (tree / "a.py").write_text(f"def {name}(): ...\n")
    transform.add_docstrings("a.py")
    assert f'"""{summary}"""' in (tree / "a.py").read_text()


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
        ("import old.mod\nf(f'{old.mod.x}')\n", "import new.place\nf(f'{new.place.x}')\n"),
        ("import old.mod\nx: 'list[old.mod.C]'\n", "import new.place\nx: 'list[new.place.C]'\n"),
        ("from old import a, mod, b\n", "from old import a, b\nfrom new import place as mod\n"),
        (
            "if x:\n    from old import (\n        mod,\n        a,\n    )  # y\n",
            "if x:\n    from old import (\n        a,\n    )\n    from new import place as mod  # y\n",
        ),
        ("x; from old import a, mod as m; y\n", "x; from old import a; from new import place as m; y\n"),
    ],
)
def test_imports_change_with_the_uses_by_path(tree: Path, before: str, after: str) -> None:
    (tree / "a.py").write_text(before)
    transform.change_imports(".", "old.mod", "new.place")
    assert (tree / "a.py").read_text() == after


@pytest.mark.parametrize(
    "uses", ["f(old)", "def f(new): return old.mod.g(new)", "new = old.mod.x", "new(old.mod.x)", "del old"]
)
def test_uses_that_can_not_be_changed_refuse_the_whole(tree: Path, uses: str) -> None:
    (tree / "a.py").write_text("from old.mod import x\n")
    (tree / "b.py").write_text(f"import old.mod\n{uses}\n")
    with pytest.raises(ToolError, match=r"b.py:2: .*nothing was changed"):
        transform.change_imports(".", "old.mod", "new.place")
    assert (tree / "a.py").read_text() == "from old.mod import x\n"


def test_imports_that_the_path_alone_does_not_tell_are_listed(tree: Path) -> None:
    (tree / "src/old/sub").mkdir(parents=True)
    (tree / "src/old/__init__.py").write_text("from .mod import x\nfrom . import mod\nfrom . import other\n")
    (tree / "src/old/sub/a.py").write_text("from ..mod import x\nfrom .mod import y\npatch('old.mod.x')\n")
    (tree / "b.py").write_text("import old\nold.mod.f()\nx = 'old.model'\n")
    found = transform.change_imports(".", "old.mod", "new.place")["check_by_hand"]
    assert found == ["b.py:2", "src/old/sub/a.py:3"]


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("pkg/a.py", "from .mod import x\n", "from .core.place import x\n"),
        ("pkg/__init__.py", "from .mod import (x,\n    y)\n", "from .core.place import (x,\n    y)\n"),
        ("pkg/a.py", "from . import mod\nmod.f()\n", "from .core import place as mod\nmod.f()\n"),
        ("pkg/a.py", "from . import other, mod\n", "from . import other\nfrom .core import place as mod\n"),
        ("pkg/a.py", "from.mod import x\n", "from.core.place import x\n"),
        ("pkg/a.py", "from . mod import x\n", "from .core.place import x\n"),
        ("pkg/a.py", "from \\\n  .mod \\\n import x\n", "from \\\n  .core.place \\\n import x\n"),
        ("pkg/sub/a.py", "from ..mod.inner import x\n", "from ..core.place.inner import x\n"),
        ("pkg/sub/a.py", "from .mod import x\n", "from .mod import x\n"),
        ("pkg/core/a.py", "from ..mod import x\n", "from .place import x\n"),
        ("pkg/sub/a.py", "from ...mod import x\n", "from ...mod import x\n"),
        ("pkg/a.py", "from .model import x\n", "from .model import x\n"),
    ],
)
@pytest.mark.parametrize("top", ["", "src/"])
@pytest.mark.parametrize("packages", [True, False])
def test_relative_imports_change_with_the_others(
    tree: Path, file: str, before: str, after: str, top: str, packages: bool
) -> None:
    for folder in ("pkg", "pkg/sub", "pkg/core"):
        (tree / top / folder).mkdir(parents=True)
        if packages:
            (tree / top / folder / "__init__.py").touch()
    (tree / top / file).write_text(before)
    transform.change_imports(".", "pkg.mod", "pkg.core.place")
    assert (tree / top / file).read_text() == after


def test_a_relative_import_of_what_leaves_the_package_becomes_absolute(tree: Path) -> None:
    (tree / "pkg").mkdir()
    (tree / "pkg" / "__init__.py").write_text("from.mod import x\nfrom . import mod\n")
    transform.change_imports(".", "pkg.mod", "other.mod")
    assert (tree / "pkg" / "__init__.py").read_text() == "from other.mod import x\nfrom other import mod\n"


PACKAGE = {
    "src/pkg/__init__.py": "from .mod import f\nfrom . import mod, util\n",
    "src/pkg/mod.py": "from . import util\nfrom .util import g\nimport pkg.util\n\ndef f(): return g()\n",
    "src/pkg/util.py": "def g(): return 1\n",
    "src/main.py": "import pkg.mod\nfrom pkg import mod\n\nprint(pkg.mod.f(), mod.f())\n",
}
MOVED = {
    "src/pkg/__init__.py": "from .core.place import f\nfrom . import util\nfrom .core import place as mod\n",
    "src/pkg/core/__init__.py": "",
    "src/pkg/core/place.py": PACKAGE["src/pkg/mod.py"].replace("from . ", "from .. ").replace(".util ", "..util "),
    "src/pkg/util.py": PACKAGE["src/pkg/util.py"],
    "src/main.py": ("import pkg.core.place\nfrom pkg.core import place as mod\n\nprint(pkg.core.place.f(), mod.f())\n"),
}


def contents(tree: Path) -> dict[str, str]:
    return {path.relative_to(tree).as_posix(): path.read_text() for path in tree.rglob("*.py")}


@pytest.fixture
def package(tree: Path) -> Path:
    for name, text in PACKAGE.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return tree


def test_a_module_moves_with_its_imports_and_comes_back(package: Path) -> None:
    facts = transform.move_module("src/pkg/mod.py", "src/pkg/core/place.py")
    assert (facts["old_module"], facts["new_module"]) == ("pkg.mod", "pkg.core.place")
    assert (facts["imports_changed"], facts["files_moved"]) == (6, 1)
    assert contents(package) == MOVED
    assert subprocess.run([sys.executable, "src/main.py"], check=True, capture_output=True).stdout == b"1 1\n"
    fs.undo()
    assert contents(package) == PACKAGE


def test_a_module_leaves_its_package(tree: Path) -> None:
    (tree / "pkg").mkdir()
    (tree / "pkg/__init__.py").write_text("")
    (tree / "pkg/mod.py").write_text("x = 1\n")
    (tree / "pkg/use.py").write_text("from . import mod\nprint(mod.x)\n")
    (tree / "main.py").write_text("from pkg import mod, use\n")
    transform.move_module("pkg/mod.py", "single.py")
    assert (tree / "pkg/use.py").read_text() == "import single as mod\nprint(mod.x)\n"
    assert (tree / "main.py").read_text() == "from pkg import use\nimport single as mod\n"
    assert subprocess.run([sys.executable, "main.py"], check=True, capture_output=True).stdout == b"1\n"


def test_what_is_left_in_a_moved_package_is_listed_where_it_is_now(tree: Path) -> None:
    (tree / "pkg").mkdir()
    (tree / "pkg/__init__.py").write_text("from pkg import a\nNAME = 'pkg.a'\n")
    (tree / "pkg/a.py").write_text("")
    (tree / "pkgs.py").write_text("NAME = 'pkg.a'\n")
    facts = transform.move_module("pkg", "new")
    assert facts["check_by_hand"] == ["new/__init__.py:2", "pkgs.py:1"]
    assert [row["file"] for row in facts["files"]] == ["new/__init__.py"]


def test_a_package_moves_whole(package: Path) -> None:
    (package / "src/pkg/mod.py").unlink()
    (package / "src/pkg/mod").mkdir()
    (package / "src/pkg/mod/__init__.py").write_text("from .inner import f\n")
    (package / "src/pkg/mod/inner.py").write_text("from ..util import g as f\nfrom . import inner\n")
    transform.move_module("src/pkg/mod", "src/other/deep")
    after = contents(package)
    assert after["src/other/deep/__init__.py"] == "from .inner import f\n"
    assert after["src/other/deep/inner.py"] == "from pkg.util import g as f\nfrom . import inner\n"
    assert (
        after["src/pkg/__init__.py"] == "from other.deep import f\nfrom . import util\nfrom other import deep as mod\n"
    )
    assert after["src/main.py"].startswith("import other.deep\nfrom other import deep as mod\n")


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ("src/pkg/mod.py", "src/pkg/util.py", "already"),
        ("src/pkg/mod.py", "src/pkg/core", "must be a path as"),
        ("src/pkg/mod.py", "src/pkg/my-mod.py", "my-mod"),
        ("src/pkg", "src/pkg.py", "must be a path as"),
        ("gone.py", "a.py", "does not exist"),
    ],
)
def test_a_module_that_can_not_move_stays(package: Path, source: str, target: str, told: str) -> None:
    with pytest.raises(ToolError, match=told):
        transform.move_module(source, target)
    assert contents(package) == PACKAGE


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


def test_a_dry_run_inside_of_a_batch_is_refused(tree: Path) -> None:
    (tree / "a.py").write_text("print(1)\n")
    with pytest.raises(ToolError, match=r"operations\[0\]: dry_run"):
        transform.batch([{"operation": "remove_debug_statements", "dry_run": True}])
    assert (tree / "a.py").read_text() == "print(1)\n"


def test_files_that_have_nothing_to_remove_are_not_parsed(tree: Path) -> None:
    (tree / "bad.py").write_text("x = (\n")
    (tree / "bad_too.py").write_text("print(\n")
    assert [each["file"] for each in transform.remove_debug_statements()["errors"]] == ["bad_too.py"]


def test_a_named_file_that_can_not_be_parsed_is_an_error_whatever_is_in_it(tree: Path) -> None:
    (tree / "bad.py").write_text("def f(:\n")
    with pytest.raises(ToolError, match=r"bad.py'?, line 1: syntax error"):
        transform.remove_debug_statements("bad.py")


def test_a_plan_that_would_move_or_drop_other_statements_is_refused(tree: Path) -> None:
    (tree / "a.py").write_text("x\nif y:\n    z\n")
    dropped = RewritePlan(spans=[TextSpan(start=0, end=2, text="")], count=1)
    rewrite = Rewrite(name="test", counted="dropped", plan=lambda _file: dropped, needles=[b""])
    with pytest.raises(ToolError, match="can't be changed for certain"):
        rewrite.edit(Workspace(confined=Confined([tree])), ".", "**/*.py", dry_run=False)


def test_a_batch_leaves_what_is_spared(tree: Path) -> None:
    for name in ("a.py", "own/b.py"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text("print(1)\n")
    work = Workspace(confined=Confined([tree]), spared=(tree / "own",))
    done = find("transform.batch")(work, operations=[{"operation": "remove_debug_statements"}])
    assert isinstance(done, Edit)
    assert [change.name for change in done.changes] == ["a.py"]


UNUSED = """import os
from typing import (
    Any,  # é
    List,
)
é = 1; import json, re; x = 1
if x:
    import csv
import sys  # noqa: F401
print(Any, "é"); import zipfile
"""


def test_unused_imports_go_and_nothing_else(tree: Path) -> None:
    (tree / "a.py").write_bytes(UNUSED.replace("\n", "\r\n").encode())
    (tree / "pkg").mkdir()
    (tree / "pkg" / "__init__.py").write_text("from .m import face\n")
    facts = transform.remove_unused_imports(".")
    assert (facts["imports_removed"], facts["files_modified"]) == (6, 1)
    assert facts["check_by_hand"] == ["pkg/__init__.py:1"]
    after = (tree / "a.py").read_bytes().decode()
    assert after.count("\r\n") == after.count("\n")
    tree_after = ast.parse(after)
    assert [ast.unparse(each) for each in tree_after.body] == [
        "from typing import Any", "é = 1", "x = 1", "if x:\n    pass", "import sys", "print(Any, 'é')",
    ]  # fmt: skip
    assert "# é" in after
    assert code.find_unused_imports("a.py") == []
    fs.undo()
    assert (tree / "a.py").read_bytes() == UNUSED.replace("\n", "\r\n").encode()
