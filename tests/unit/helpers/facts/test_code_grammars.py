"""Functions and classes of other languages, offline, with the same fields as Python's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import code

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = {
    "a.js": "class Box {\n  open(a, b = 1) {\n    if (a) { return 1 }\n  }\n}\nconst run = async (x) => x\n",
    "a.ts": "interface Box { x: number }\nfunction run(x: number, y?: string): void {}\n",
    "a.tsx": "function Box(props: Props) { return <div/> }\n",
    "a.go": "package a\ntype Box struct { x int }\nfunc (b Box) open(a int) {}\nfunc run(x, y int) {}\n",
    "a.rs": "struct Box { x: i32 }\nfn run(x: i32) -> i32 { if x > 1 { 1 } else { 2 } }\n",
    "a.java": "class Box {\n  Box(int x) {}\n  int run(int x, int y) { for (;;) {} }\n}\n",
    "a.c": "struct Box { int x; };\nstatic int *run(int x, char *y) { while (x) {} return 0; }\n",
}


@pytest.mark.parametrize(
    ("file", "functions", "classes"),
    [
        ("a.js", [("Box.open", ["a", "b"], 2, 4, 2), ("run", ["x"], 6, 6, 1)], ["Box"]),
        ("a.ts", [("run", ["x", "y"], 2, 2, 1)], ["Box"]),
        ("a.tsx", [("Box", ["props"], 1, 1, 1)], []),
        ("a.go", [("Box.open", ["a"], 3, 3, 1), ("run", ["x", "y"], 4, 4, 1)], ["Box"]),
        ("a.rs", [("run", ["x"], 2, 2, 2)], ["Box"]),
        ("a.java", [("Box.Box", ["x"], 2, 2, 1), ("Box.run", ["x", "y"], 3, 3, 2)], ["Box"]),
        ("a.c", [("run", ["x", "y"], 2, 2, 2)], ["Box"]),
    ],
)
def test_definitions_are_found(tree: Path, file: str, functions: list[object], classes: list[str]) -> None:
    (tree / file).write_text(SOURCES[file])
    fields = ("qualname", "args", "start_line", "end_line", "complexity")
    found = [tuple(row[field] for field in fields) for row in code.find_functions(file)]
    assert found == functions
    assert [row["name"] for row in code.find_classes(file)] == classes


def test_a_folder_of_many_languages_is_one_page(tree: Path) -> None:
    for name, text in SOURCES.items():
        (tree / name).write_text(text)
    (tree / "bad.js").write_text("function (\n")
    page = code.find_functions(".", pattern="run", file_pattern="**/*.{js,ts,go,rs,java,c}")
    assert {row["file"] for row in page["functions"]} == SOURCES.keys() - {"a.tsx"}
    assert [(each["file"], each["line"]) for each in page["errors"]] == [("bad.js", 1)]


def test_what_is_told_of_python_alone_says_so(tree: Path) -> None:
    (tree / "a.js").write_text("f()\n")
    with pytest.raises(ToolError, match="only Python can be asked"):
        code.call_graph("a.js")
