"""A rename reaches what means the name, by Python's rules, and nothing else; what would change a meaning is refused."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import fs, open_helpers, transform

if TYPE_CHECKING:
    from pathlib import Path


def renamed(tree: Path, before: str, old: str = "old") -> str:
    """What a file becomes."""
    (tree / "a.py").write_text(dedent(before))
    transform.rename_identifier(".", old, "new")
    return (tree / "a.py").read_text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def old(): ...\nold()\n", "def new(): ...\nnew()\n"),
        (
            "old = 1\nprint('old', old)  # old\n",
            "old = 1\nprint('old', old)  # old\n".replace("old =", "new =").replace(", old", ", new"),
        ),
        ("old = 1\nx.old = old\n", "new = 1\nx.old = new\n"),
        ("def old(): ...\ndef f(old): return old\n", "def new(): ...\ndef f(old): return old\n"),
        ("old = 1\ndef f():\n    old = 2\n    return old\n", "new = 1\ndef f():\n    old = 2\n    return old\n"),
        ("old = 1\ndef f():\n    global old\n    old = 2\n", "new = 1\ndef f():\n    global new\n    new = 2\n"),
        ("old = 1\ng(old=old)\n", "new = 1\ng(old=new)\n"),
        ("old = [1]\nx = [old for old in old]\n", "new = [1]\nx = [old for old in new]\n"),
        ("old = 1\nx = lambda old, y=old: old\n", "new = 1\nx = lambda old, y=new: old\n"),
        (
            "old = 1\nclass A:\n    x = old\n    old = old\n    y = old\n",
            "new = 1\nclass A:\n    x = new\n    old = new\n    y = old\n",
        ),
        (
            "class A:\n    old = 1\n    def f(self): return old\nold = 2\n",
            "class A:\n    old = 1\n    def f(self): return new\nnew = 2\n",
        ),
        ("async  def \\\n  old(): ...\n", "async  def \\\n  new(): ...\n"),
        ("class old: ...\ndef f(x: 'list[old]') -> old: ...\n", "class new: ...\ndef f(x: 'list[new]') -> new: ...\n"),
        ("old = 1\n__all__ = ['old', \"x\"]\n", "new = 1\n__all__ = ['new', \"x\"]\n"),
        (
            "old = 1\nx = f'old {old!r:>{old}} {g(old)}' f\"{old=}\"\n",
            "new = 1\nx = f'old {new!r:>{new}} {g(new)}' f\"{new=}\"\n",
        ),
        ("try: ...\nexcept E as old: old\n", "try: ...\nexcept E as new: new\n"),
        ("match x:\n    case [old, *_]: old\n", "match x:\n    case [new, *_]: new\n"),
        ("match x:\n    case {'a': 1, **old}: old\n", "match x:\n    case {'a': 1, **new}: new\n"),
        ("if (old := 1): old\n", "if (new := 1): new\n"),
        (
            "def f():\n    return [old := 1 for x in y]\nold = 2\n",
            "def f():\n    return [old := 1 for x in y]\nnew = 2\n",
        ),
        ("for old, y in z: del old\nwith x as old: ...\n", "for new, y in z: del new\nwith x as new: ...\n"),
        (
            "try:\n    from fast import old\nexcept E:\n    def old(): ...\n",
            "try:\n    from fast import old as new\nexcept E:\n    def new(): ...\n",
        ),
        ("é = 'ü'; old = é; print(é, old)\n", "é = 'ü'; new = é; print(é, new)\n"),
        ("éold, old = 1, 2\ndef f():\n    global éold, old\n", "éold, new = 1, 2\ndef f():\n    global éold, new\n"),
        (
            "def f():\n    old = 1\n    class A:\n        global old\n        old = 2\n        g = lambda: old\n",
            "def f():\n    old = 1\n    class A:\n        global new\n        new = 2\n        g = lambda: old\n",
        ),
        (
            "def old(): ...\n__all__ = ['old'] + ['x']\n__all__.append('old')\n__all__ += ('old',)\n",
            "def new(): ...\n__all__ = ['new'] + ['x']\n__all__.append('new')\n__all__ += ('new',)\n",
        ),
        (
            "class old: ...\ndef f(x: \"Literal['old'] | old\", y: Annotated[str, Option('old')]): ...\n",
            "class new: ...\ndef f(x: \"Literal['old'] | new\", y: Annotated[str, Option('old')]): ...\n",
        ),
        ("old = 1\nx = f'{x.old} {old} {g(old=old)} old'\n", "new = 1\nx = f'{x.old} {new} {g(old=new)} old'\n"),
        ('old = 1\nx = f"""{f\'{old}\'}\n{old=}"""\n', 'new = 1\nx = f"""{f\'{new}\'}\n{new=}"""\n'),
    ],
)
def test_a_module_level_name_is_renamed_where_it_is_meant(tree: Path, before: str, after: str) -> None:
    assert renamed(tree, before) == after


def test_a_name_is_followed_through_imports(tree: Path) -> None:
    files = {
        "src/pkg/__init__.py": "from .mod import *\n",
        "src/pkg/mod.py": "def old(): ...\n",
        "src/pkg/near.py": "from . import mod\nfrom .mod import old as mine\nmod.old(mine)\n",
        "use.py": "import pkg.mod\nfrom pkg import old\npkg.mod.old(old, x.old)\n",
        "alias.py": "import pkg.mod as m\ndef f():\n    from pkg.mod import old\n    return old, m.old\n",
        "again.py": "from use import old\nprint(old)\n",
        "other.py": "from json import old\nold()\n",
    }
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)
    result = transform.rename_identifier(".", "old", "new")
    assert (result["files_modified"], result["total_replacements"]) == (5, 11)
    assert (tree / "src/pkg/near.py").read_text() == "from . import mod\nfrom .mod import new as mine\nmod.new(mine)\n"
    assert (tree / "use.py").read_text() == "import pkg.mod\nfrom pkg import new\npkg.mod.new(new, x.old)\n"
    assert (tree / "alias.py").read_text().endswith("from pkg.mod import new\n    return new, m.new\n")
    assert (tree / "again.py").read_text() == "from use import new\nprint(new)\n"
    assert (tree / "other.py").read_text() == files["other.py"]


@pytest.mark.parametrize(
    "before",
    [
        "old = 1\nnew = 2\n",
        "old = 1\ndef f(new): return old\n",
        "old = 1\nprint(new)\n",
        "old = 1\nclass A:\n    new = 2\n    x = old\n",
        "import old.x\nold = 1\n",
        "old = 1\nclass A:\n    old += 1\n",
        "old = 1\nx: 'list[\\x6fld]'\n",
    ],
)
def test_what_would_change_the_meaning_is_refused_whole(tree: Path, before: str) -> None:
    (tree / "b.py").write_text("from a import old\nold()\n")
    with pytest.raises(ToolError, match=r"(?s)nothing was changed:.*a.py:\d: "):
        renamed(tree, before)
    assert (tree / "a.py").read_text() == before
    assert "old()" in (tree / "b.py").read_text()


@pytest.mark.parametrize(
    "names",
    [("old", "1x"), ("old", "__debug__"), ("old", "class"), ("old", "old"), ("a.b", "c"), ("", "c"), ("old", "a b")],
)
def test_names_that_are_none_are_refused(tree: Path, names: tuple[str, str]) -> None:
    with pytest.raises(ToolError):
        transform.rename_identifier(".", *names)


def test_a_parameter_is_renamed_with_the_calls_that_name_it(tree: Path) -> None:
    (tree / "b.py").write_text("import a\nfrom a import f\nf(old=1)\na.f(old=2)\ng(old=3)\n")
    assert renamed(tree, "def f(old): return old\nf(old=0)\nold = 1\n", "a.py::f.old") == (
        "def f(new): return new\nf(new=0)\nold = 1\n"
    )
    assert (tree / "b.py").read_text() == "import a\nfrom a import f\nf(new=1)\na.f(new=2)\ng(old=3)\n"


def test_a_method_is_renamed_where_self_tells_and_other_objects_are_listed(tree: Path) -> None:
    before = "class A:\n    def old(self): return self.old()\nx.old()\nclass B:\n    def old(self): self.old()\n"
    (tree / "a.py").write_text(before)
    result = transform.rename_identifier(".", "a.py::A.old", "new")
    assert (tree / "a.py").read_text() == before.replace("old", "new", 2)
    assert result["check_by_hand"] == ["a.py:3", "a.py:5"]


def test_a_name_that_no_module_defines_tells_where_it_is(tree: Path) -> None:
    (tree / "a.py").write_text("class A:\n    def old(self): ...\ndef f(old): ...\n")
    result = transform.rename_identifier(".", "old", "new")
    assert (result["files_modified"], result["defined_elsewhere"]) == (0, ["a.py::A.old", "a.py::f.old"])


def test_a_name_that_no_module_here_defines_gives_advice(tree: Path) -> None:
    written(tree, {"a.py": "def old(): ...\n", "b.py": "from a import old\n"})
    assert "no module here defines old" in transform.rename_identifier("b.py", "old", "new")["advice"]


@pytest.mark.parametrize(("pattern", "old"), [("**/*.py", "old"), (".", "A.old")])
def test_what_was_meant_is_told(tree: Path, pattern: str, old: str) -> None:
    with pytest.raises(ToolError, match=r"file_pattern|pkg/a\.py::A\.old"):
        transform.rename_identifier(pattern, old, "new")


def test_bytes_that_are_not_the_name_stay(tree: Path) -> None:
    (tree / "a.py").write_bytes(b"\xef\xbb\xbfdef old():\r\n\treturn 1  \r\n\r\nold ( )")
    (tree / "b.py").write_bytes(b"# coding: latin-1\nfrom a import old\nx = '\xe9' ; old()\n")
    transform.rename_identifier(".", "old", "new")
    assert (tree / "a.py").read_bytes() == b"\xef\xbb\xbfdef new():\r\n\treturn 1  \r\n\r\nnew ( )"
    assert (tree / "b.py").read_bytes() == b"# coding: latin-1\nfrom a import new\nx = '\xe9' ; new()\n"


def test_a_dry_run_shows_and_writes_nothing_and_undo_brings_all_back(tree: Path) -> None:
    (tree / "a.py").write_text("def old(): ...\n")
    shown = transform.rename_identifier(".", "old", "new", dry_run=True)
    assert "+def new(): ..." in shown["diff"]
    assert (tree / "a.py").read_text() == "def old(): ...\n"
    transform.rename_identifier(".", "old", "new")
    fs.undo()
    assert (tree / "a.py").read_text() == "def old(): ...\n"


def test_files_that_can_not_be_parsed_are_listed_and_left(tree: Path) -> None:
    (tree / "bad.py").write_text("old = (\n")
    (tree / "deep.py").write_text("old = " + "-" * 100_000 + "1\n")
    (tree / "null.py").write_bytes(b"old = 1\0")
    (tree / "a.py").write_text("old = 1\n")
    result = transform.rename_identifier(".", "old", "new")
    assert (result["files_modified"], {each["file"] for each in result["errors"]}) == (1, {"bad.py", "deep.py"})
    assert result["left_out"] == {"binary": 1}
    with pytest.raises(ToolError, match="syntax error"):
        transform.rename_identifier("bad.py", "old", "new")


def test_without_the_right_to_write_only_a_refusal_comes_back(tree: Path) -> None:
    (tree / "a.py").write_text("old = 1\n")
    with pytest.raises(ToolError, match="not allowed"):
        open_helpers(tree, rights=["read"]).transform.rename_identifier(".", "old", "new")


def test_hidden_and_ignored_files_and_git_stay(tree: Path) -> None:
    for name in (".git/hooks/x.py", ".venv/lib.py", "build/b.py", "a.py"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("old = 1\n")
    (tree / ".gitignore").write_text("build/\n")
    assert transform.rename_identifier(".", "old", "new")["files"] == [{"file": "a.py", "replacements": 1}]


def test_a_file_in_an_encoding_that_it_does_not_name_is_left(tree: Path) -> None:
    (tree / "a.py").write_bytes(b"old = '\xe9'\n")
    result = transform.rename_identifier(".", "old", "new")
    assert (result["files_modified"], result["errors"][0]["file"]) == (0, "a.py")


def test_a_tree_that_is_read_only_in_part_is_changed_in_no_part(tree: Path) -> None:
    (tree / "a.py").write_text("old = 1\n")
    (tree / "b.py").write_text("from a import old\n")
    (tree / "b.py").chmod(0o444)
    with pytest.raises(ToolError, match="nothing was changed"):
        transform.rename_identifier(".", "old", "new")
    assert (tree / "a.py").read_text() == "old = 1\n"


def test_a_text_in_a_coding_of_its_own_takes_a_new_name_in_it(tree: Path) -> None:
    (tree / "a.py").write_bytes(b"# coding: latin-1\nold = '\xe9'\n")
    transform.rename_identifier(".", "old", "n\u00e9")
    assert (tree / "a.py").read_bytes() == b"# coding: latin-1\nn\xe9 = '\xe9'\n"
    with pytest.raises(ToolError, match="nothing was written"):
        transform.rename_identifier(".", "n\u00e9", "\u4e2d")


def written(tree: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)


@pytest.mark.parametrize(
    ("other", "new"),
    [
        ({"b.py": "from a import *\nopen('x')\n"}, "open"),
        ({"b.py": "from a import *\nold()\n"}, "_old"),
        ({"b.py": "from a import new\n"}, "new"),
        ({"b.py": "import a\na.new = 1\n"}, "new"),
        ({"b.py": "from a import new as other\n"}, "new"),
        ({"p/__init__.py": "def old(): ...\n", "p/part.py": ""}, "part"),
    ],
)
def test_what_another_module_has_under_the_new_name_refuses_it(tree: Path, other: dict[str, str], new: str) -> None:
    written(tree, {"a.py": "def old(): ...\n", **other})
    with pytest.raises(ToolError, match="nothing was changed"):
        transform.rename_identifier(".", "old", new)
    assert (tree / "a.py").read_text() == "def old(): ...\n"


def test_a_star_import_brings_what_all_lists(tree: Path) -> None:
    written(tree, {"a.py": "__all__ = ['x']\nold = x = 1\n", "b.py": "from a import *\nfrom z import *\nold\n"})
    assert transform.rename_identifier(".", "old", "new")["files"] == [{"file": "a.py", "replacements": 1}]


def test_a_name_of_its_own_hides_what_a_star_import_brings(tree: Path) -> None:
    written(tree, {"a.py": "old = 1\n", "b.py": "from a import *\nold = 2\n", "c.py": "from b import old\nold\n"})
    assert transform.rename_identifier(".", "a.py::old", "new")["files"] == [{"file": "a.py", "replacements": 1}]


def test_a_module_that_hides_a_standard_one_elsewhere_is_not_what_others_import(tree: Path) -> None:
    written(tree, {"scripts/json.py": "def loads(): ...\n", "src/x.py": "from json import loads\nloads\n"})
    assert transform.rename_identifier(".", "loads", "new")["files_modified"] == 1


def test_letters_that_python_takes_for_others_are_the_same_name(tree: Path) -> None:
    written(tree, {"a.py": "def file(): ...\n", "b.py": "from a import \ufb01le\n\ufb01le()\n"})
    transform.rename_identifier(".", "file", "new")
    assert (tree / "b.py").read_text() == "from a import new\nnew()\n"


def test_strings_that_may_mean_the_name_are_listed(tree: Path) -> None:
    lines = [
        "import a",
        "getattr(a, 'old')",
        "patch('a.old')",
        "x['old'] == 'old'",
        "cast('old', x)",
        "'so old', 'old.x'",
    ]
    written(tree, {"a.py": "class old: ...\n", "b.py": "\n".join(lines)})
    assert transform.rename_identifier(".", "old", "new")["check_by_hand"] == ["b.py:2", "b.py:3", "b.py:5"]


def test_an_annotation_in_quotes_is_followed_through_a_module(tree: Path) -> None:
    written(tree, {"a.py": "class old: ...\n", "b.py": "import a\ndef f(x: 'a.old') -> 'list[a.old | old]': ...\n"})
    assert "check_by_hand" not in transform.rename_identifier(".", "old", "new")
    assert (tree / "b.py").read_text() == "import a\ndef f(x: 'a.new') -> 'list[a.new | old]': ...\n"


def test_a_coding_line_holds_for_a_file_that_would_be_read_without_it(tree: Path) -> None:
    (tree / "a.py").write_bytes(b"# coding: latin-1\nold = 1\n")
    (tree / "b.py").write_bytes(b"\xef\xbb\xbf# coding: utf-8\nfrom a import old\n")
    transform.rename_identifier(".", "old", "n\u00e9")
    assert (tree / "a.py").read_bytes() == b"# coding: latin-1\nn\xe9 = 1\n"
    assert (tree / "b.py").read_bytes() == b"\xef\xbb\xbf# coding: utf-8\nfrom a import n\xc3\xa9\n"


def test_a_coding_line_may_stand_after_a_long_first_one(tree: Path) -> None:
    (tree / "a.py").write_bytes(b"#" * 1_000 + b"\n# coding: latin-1\nol\xe9 = 1\n")
    transform.rename_identifier(".", "ol\u00e9", "new")
    assert (tree / "a.py").read_bytes().endswith(b"\nnew = 1\n")


@pytest.mark.parametrize("coding", ["rot13", "utf-7", "undefined", "no-such"])
def test_a_coding_that_python_has_no_text_in_is_an_error_of_that_file(tree: Path, coding: str) -> None:
    (tree / "a.py").write_bytes(b"# coding: %s\nold = '+AOk-'\n" % coding.encode())
    assert transform.rename_identifier(".", "old", "new")["errors"][0]["file"] == "a.py"


def test_stubs_and_entry_points_that_name_it_are_listed(tree: Path) -> None:
    (tree / "m.py").write_text("def main():\n    return 1\n")
    (tree / "m.pyi").write_text("\ndef main() -> int: ...\n")
    (tree / "pyproject.toml").write_text('[project]\nname = "main"\n[project.scripts]\nm = "m:main"\nn = "m:main_2"\n')
    assert transform.rename_identifier(".", "main", "start")["check_by_hand"] == ["m.pyi:2", "pyproject.toml:4"]
    facts = transform.change_imports(".", "m", "n")
    assert "check_by_hand" not in facts
    (tree / "use.py").write_text("import m\n")
    facts = transform.change_imports(".", "m", "n")
    assert facts["check_by_hand"] == ["pyproject.toml:4", "pyproject.toml:5"]
