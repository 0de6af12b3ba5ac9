"""What `code` tells of Python files: facts with lines, bounded, with everything that could not be parsed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import code

SAMPLE = '''\
import os


def parse_util(text, *rest, key=None, **more):
    """Parse."""
    if text and rest:
        return [each for each in rest]
    elif key:
        for one in more:
            print(one)
    else:
        return os.sep


@first
@second.third(1)
class Box(dict, Generic[T]):
    @property
    def size(self):
        def inner():
            pass
        return inner

    async def load(self): ...


def handle_request(): ...
'''


BRANCHES = """
async def every_branch(a):
    match a:
        case 1 if a: pass
        case [x] | (2 as x): pass
        case _: pass
    match a:
        case {"b": y}: pass
    try:
        async with a: pass
        async for b in a: pass
    except (A, B): pass
    except C: pass
    else: pass
    finally:
        while a if a else b: pass
    class Inner:
        for z in a: pass
        def method(self): return lambda: [c for c in a if c and b]
"""


def names(rows: list[dict[str, object]]) -> list[object]:
    return [row["name"] for row in rows]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (".*_util$", ["parse_util"]),
        ("handle_.*", ["handle_request"]),
        ("handle_*", ["handle_request"]),
        ("load", ["load"]),
        ("loa", []),
        ("[il]*", ["inner", "load"]),
        ("*_*l", ["parse_util"]),
        ("Box.load", ["load"]),
        (None, ["parse_util", "size", "inner", "load", "handle_request"]),
    ],
)
def test_names_are_found_by_name_glob_or_expression(tree: Path, pattern: str | None, found: list[str]) -> None:
    (tree / "app.py").write_text(SAMPLE)
    assert names(code.find_functions("app.py", pattern=pattern)) == found


def test_a_function_is_told_with_all_of_its_lines_and_none_of_its_source(tree: Path) -> None:
    (tree / "app.py").write_text(SAMPLE)
    parse, size, *_ = code.find_functions("app.py")
    assert parse["args"] == ["text", "*rest", "key", "**more"]
    assert (parse["start_line"], parse["end_line"], parse["complexity"], parse["docstring"]) == (4, 12, 4, True)
    assert (size["start_line"], size["qualname"], size["kind"]) == (18, "Box.size", "method")
    assert code.find_functions("app.py", pattern="inner")[0]["qualname"] == "Box.size.inner"
    assert size["decorators"] == ["property"]
    assert "return os.sep" not in str(parse)


def test_classes_come_with_bases_and_methods(tree: Path) -> None:
    (tree / "app.py").write_text(SAMPLE)
    (box,) = code.find_classes("app.py")
    assert (box["bases"], box["methods"]) == (["dict", "Generic"], ["size", "load"])
    assert (box["start_line"], box["decorators"]) == (15, ["first", "second.third"])


def test_dependencies_are_numbers_and_modules(tree: Path) -> None:
    (tree / "app.py").write_text(SAMPLE + "import requests\nfrom .near import x\n")
    found = code.analyze_dependencies("app.py")
    assert (found["functions"], found["complexity"], found["lines"]) == (5, 8, 29)
    assert found["imports"] == {"standard": ["os"], "relative": [".near"], "other": ["requests"]}


def test_a_syntax_error_in_one_file_is_an_error_with_its_line(tree: Path) -> None:
    (tree / "bad.py").write_text("x = 1\ndef (:\n")
    with pytest.raises(ToolError, match=r"'bad.py', line 2: syntax error"):
        code.find_functions("bad.py")


def test_a_language_that_is_not_read_is_named_as_such(tree: Path) -> None:
    (tree / "a.rb").write_text("def hello\n  puts 1\nend\n")
    with pytest.raises(ToolError, match=r"'a.rb', line 1: a language that is not read"):
        code.find_functions("a.rb")


def test_a_page_of_a_folder_lists_what_could_not_be_parsed(tree: Path) -> None:
    (tree / "a.py").write_text("def one(): ...\n")
    (tree / "bad.py").write_text("def (:\n")
    (tree / "null.py").write_bytes(b"x = 1\0\n")
    (tree / "latin.py").write_bytes(b"name = '\xe9'\n")
    (tree / "deep.py").write_text("x = " + "-" * 200_000 + "1\n")
    (tree / "long.py").write_text("x = '" + "a" * (9 << 20) + "'\n")
    page = code.find_functions(".")
    assert names(page["functions"]) == ["one"]
    errors = {each["file"]: each["error"] for each in page["errors"]}
    assert errors.keys() == {"bad.py", "null.py", "latin.py", "deep.py", "long.py"}
    assert "nested too deep" in errors["deep.py"]
    assert "larger than" in errors["long.py"]


def test_pages_join_to_the_whole(tree: Path) -> None:
    for number in range(60):
        (tree / f"m{number:02}.py").write_text(f"def a{number}(): ...\ndef b{number}(): ...\n")
    pages, offset = [], 0
    while offset is not None:
        page = code.find_functions(".", limit=50, offset=offset)
        assert page["total"] == 120
        pages += page["functions"]
        offset = page.get("next_offset")
    assert names(pages) == [f"{letter}{number}" for number in range(60) for letter in "ab"]


def test_a_worker_that_dies_costs_the_file_that_killed_it_alone(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlm.processes import parallel

    monkeypatch.setattr(parallel, "_MEMORY_BYTES", 160 << 20)
    for number in range(120):
        (tree / f"m{number:03}.py").write_text(f"def f{number}(): ...\n")
    (tree / "m050.py").write_text("x = [" + "1, " * 2_000_000 + "]\n")
    page = code.find_functions(".")
    assert page["total"] == 119
    assert [each["file"] for each in page["errors"]] == ["m050.py"]


def test_a_file_with_more_rows_than_a_page_asks_for_a_limit(tree: Path) -> None:
    (tree / "many.py").write_text("".join(f"def f{n}(): ...\n" for n in range(5_010)))
    for limit in (None, 6_000):
        with pytest.raises(ToolError, match=r"5,010 rows: ask with limit and offset, for 5,000 at most"):
            code.find_functions("many.py", limit=limit)
    assert names(code.find_functions("many.py", limit=1, offset=5_009)) == ["f5009"]


def test_complexity_is_what_ruff_counts(tree: Path) -> None:
    import rlm.core.budget as sample

    path = Path(sample.__file__)
    (tree / "app.py").write_text(path.read_text() + SAMPLE.replace("import os", "") + BRANCHES)
    command = ["check", "--isolated", "--select", "C901", "--config", "lint.mccabe.max-complexity=0"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--output-format", "json", str(tree / "app.py")],
        capture_output=True,
        check=False,
    )
    theirs = sorted(int(each["message"].split("(")[1].split(" ")[0]) for each in msgspec.json.decode(done.stdout))
    ours = sorted(each["complexity"] for each in code.find_functions("app.py"))
    assert ours == theirs
    assert max(ours) > 3


def test_unused_imports_know_exports_and_noqa(tree: Path) -> None:
    text = "import os\nimport sys\nimport re  # noqa: F401\nfrom a import b, c\n__all__ = ['b']\nsys.exit()\n"
    (tree / "app.py").write_text(text)
    assert code.find_unused_imports("app.py") == [{"name": "os", "line": 1}, {"name": "a.c", "line": 4}]
    (tree / "bad.py").write_text("import (\n")
    page = code.find_unused_imports(".")
    assert (page["total"], page["errors"][0]["file"]) == (2, "bad.py")


@pytest.mark.parametrize(("file", "unused"), [("a.py", 1), ("a.pyi", 0), ("__init__.pyi", 0)])
def test_a_stub_may_use_what_it_imports_later(tree: Path, file: str, unused: int) -> None:
    (tree / file).write_text("class A(B): ...\nfrom m import B\n")
    assert len(code.find_unused_imports(file)) == unused


def test_files_that_end_ruff_or_are_in_no_encoding_are_listed_and_the_others_looked_at(tree: Path) -> None:
    (tree / "a.py").write_text("import os\n")
    (tree / "b.py").write_bytes(b"# coding: latin-1\nimport re  # \xe9\n")
    (tree / "c.py").write_bytes(b"import re  # \xe9\n")
    (tree / "deep.py").write_text("x = " + "-" * 200_000 + "1\n")
    page = code.find_unused_imports(".")
    assert [(each["file"], each["name"]) for each in page["unused_imports"]] == [("a.py", "os"), ("b.py", "re")]
    assert {each["file"] for each in page["errors"]} == {"c.py", "deep.py"}
    assert page["errors_total"] == 2


def test_a_workspace_can_not_configure_the_search_for_unused_imports(tree: Path) -> None:
    (tree / "ruff.toml").write_text('lint.ignore = ["F401"]\n')
    (tree / "app.py").write_text("import os\n")
    assert code.find_unused_imports("app.py") == [{"name": "os", "line": 1}]


def test_calls_are_edges_with_lines(tree: Path) -> None:
    (tree / "app.py").write_text("class A:\n    def f(self):\n        self.g(len([]))\nA().f(); B()\n")
    edges = [(each["caller"], each["callee"], each["line"]) for each in code.call_graph("app.py")]
    assert edges == [("A.f", "self.g", 3), ("A.f", "len", 3), *(("<module>", each, 4) for each in ("?.f", "A", "B"))]
    assert [each["line"] for each in code.call_graph("app.py", name="A.f")] == [3, 3]


def test_what_is_evaluated_outside_of_a_body_is_called_outside_of_it(tree: Path) -> None:
    text = "@deco(1)\ndef f(x=default()) -> kind():\n    inner()\n\nclass A(base()):\n    y = field()\n"
    (tree / "app.py").write_text(text)
    edges = {each["callee"]: each["caller"] for each in code.call_graph("app.py")}
    assert {name for name, caller in edges.items() if caller == "<module>"} == {"deco", "default", "kind", "base"}
    assert (edges["inner"], edges["field"]) == ("f", "A")


def test_an_import_under_another_name_is_a_reference(tree: Path) -> None:
    (tree / "app.py").write_text("from m import load as fetch\nfetch()\n")
    assert code.find_references("app.py", "load") == [{"line": 1, "role": "import", "scope": ""}]


def test_an_attribute_in_a_pattern_is_a_reference(tree: Path) -> None:
    (tree / "app.py").write_text("match a:\n    case Point(x=0): pass\n")
    assert code.find_references("app.py", "x") == [{"line": 2, "role": "attribute", "scope": ""}]


def test_files_that_do_not_mention_a_name_need_not_be_parsed(tree: Path) -> None:
    (tree / "a.py").write_text("def (:\n")
    (tree / "b.py").write_text("def x(:\n")
    (tree / "c.py").write_text("\N{MATHEMATICAL BOLD SMALL X} = 1\n")
    for page in (code.find_references(".", "x"), code.call_graph(".", name="A.x")):
        assert [each["file"] for each in page["errors"]] == ["b.py"]
    assert [each["file"] for each in code.find_references(".", "x")["references"]] == ["c.py"]


def test_an_import_that_a_function_makes_is_not_of_the_top_level(tree: Path) -> None:
    (tree / "app.py").write_text("if a:\n    import x\ndef f():\n    if a:\n        from .y import z as w\n")
    x, z = code.find_imports("app.py")
    assert (x["module"], x["name"], x["bound_as"], x["top_level"]) == ("x", None, "x", True)
    assert (z["module"], z["name"], z["bound_as"], z["top_level"]) == (".y", "z", "w", False)


def test_a_long_chain_of_branches_hides_no_import(tree: Path) -> None:
    (tree / "app.py").write_text("if a: import x\n" + "elif a: import y\n" * 900)
    found = code.find_imports("app.py")
    assert (len(found), found[-1]["line"], found[-1]["top_level"]) == (901, 901, True)


@pytest.mark.parametrize(("module", "lines"), [("a", [1, 2]), ("*.models", [2]), ("a.models", [2]), ("a.*", [1, 2, 3])])
def test_imports_are_found_by_module_with_what_is_below_it(tree: Path, module: str, lines: list[int]) -> None:
    (tree / "app.py").write_text("import a.b\nfrom a.models import c\nimport ab\n")
    assert [each["line"] for each in code.find_imports("app.py", module=module)] == lines


def test_references_tell_roles_and_scopes(tree: Path) -> None:
    (tree / "app.py").write_text("x = 1\ndef f(x):\n    return x + o.x, g(x=1)\ndef h():\n    return x  # x 'x'\n")
    found = [(each["line"], each["role"], each["scope"]) for each in code.find_references("app.py", "x")]
    assert found == [
        (1, "store", "<module>"),
        (2, "param", "f"),
        (3, "load", "f"),
        (3, "attribute", ""),
        (3, "keyword", ""),
        (5, "load", "<module>"),
    ]


@pytest.mark.parametrize("path", ["../outside.py", "/etc/passwd", "link.py"])
def test_paths_that_lead_out_are_refused(tree: Path, path: str) -> None:
    (tree.parent / "outside.py").write_text("def secret(): ...\n")
    (tree / "link.py").symlink_to(tree.parent / "outside.py")
    with pytest.raises(ToolError):
        code.find_functions(path)
    assert code.find_functions(".")["total"] == 0


def test_a_pattern_that_is_none_is_refused_before_anything_is_read(tree: Path) -> None:
    with pytest.raises(ToolError, match="regular expression"):
        code.find_functions(".", pattern="(")
