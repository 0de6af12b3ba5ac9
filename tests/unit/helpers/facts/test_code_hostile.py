"""Files that are made to crash, fill or mislead whoever reads them: each is listed, and costs the others nothing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import code
from rlm.helpers.facts import pages, survey, unused_imports
from rlm.processes import parallel

LONG = "a" * 100_000


def test_a_codec_that_is_no_encoding_costs_one_file(tree: Path) -> None:
    (tree / "a.py").write_text("import os\n")
    (tree / "b.py").write_text("# coding: hex\nimport os\n")
    page = code.find_unused_imports(".")
    assert (page["total"], [each["file"] for each in page["errors"]]) == (1, ["b.py"])
    (error,) = code.find_imports(".")["errors"]
    assert ("encoding" in error["error"], error["line"]) == (True, None)


def test_names_of_any_length_come_back_short(tree: Path) -> None:
    text = f"import b{LONG}.{LONG}\n@{LONG}.{LONG}\ndef {LONG}({LONG}={LONG}):\n    def inner(): {LONG}.{LONG}()\n"
    (tree / "a.py").write_text(text + f"class {LONG}({LONG}):\n    def {LONG}(self): inner = 1\n")
    asked = [code.find_functions, code.find_classes, code.find_imports, code.find_unused_imports, code.call_graph]
    found = [*(each(".") for each in asked), code.analyze_dependencies("."), code.find_references(".", "inner")]
    assert all(each["total"] for each in found)
    assert all(len(repr(each)) < 8_000 for each in found)


def test_what_is_too_deep_to_be_looked_at_is_listed(tree: Path) -> None:
    (tree / "a.py").write_text("x = 1" + " + 1" * 900 + "\n")
    (tree / "b.py").write_text("x = 1\n")
    page = code.find_references(".", "x")
    assert [each["file"] for each in page["references"]] == ["b.py"]
    assert [(each["file"], each["error"][:15]) for each in page["errors"]] == [("a.py", "nested too deep")]


def test_long_lists_say_how_much_more_there_is(tree: Path) -> None:
    (tree / "a.py").write_text("class A:\n" + "".join(f"    def m{number}(self): ...\n" for number in range(700)))
    methods = code.find_classes("a.py")[0]["methods"]
    assert (len(methods), methods[499:]) == (501, ["m499", "... and 200 more"])


def test_neither_defaults_nor_arguments_nor_docstrings_are_told(tree: Path) -> None:
    function = (
        "@deco('secret')\ndef f(x='secret', *, y: 'secret' = 1):\n    'secret'\n    return g('secret')['secret'].h\n"
    )
    (tree / "a.py").write_text(function + "class A(B['secret'], metaclass=m('secret')):\n    'secret'\n")
    found = [code.find_functions("."), code.find_classes("."), code.call_graph("."), code.find_complex(".", above=0)]
    assert all(each["total"] for each in found)
    assert "secret" not in str(found)


def test_a_page_ends_before_it_is_too_large_and_the_pages_join(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 2_000)
    for number in range(9):
        (tree / f"m{number}.py").write_text(f"def a{number}(): ...\ndef b{number}(): ...\n")
    rows, offset = list[Any](), 0
    while offset is not None:
        page = code.find_functions(".", offset=offset)
        assert 0 < len(page["functions"]) < 18
        rows += page["functions"]
        offset = page.get("next_offset")
    assert [row["name"] for row in rows] == [f"{letter}{number}" for number in range(9) for letter in "ab"]


def test_a_page_takes_no_more_than_its_limit_of_whatever_comes() -> None:
    page = pages.RowPage(window=pages.Window(limit=3, offset=1))
    for first in (0, 10):
        page.add([*range(first, first + 4)], 10)
    assert (page.rows, page.total, page.next_offset) == ([1, 2, 3], 20, 4)


def test_pages_of_unused_imports_join_and_one_file_says_when_it_has_too_many(tree: Path) -> None:
    (tree / "a.py").write_text("".join(f"import m{number}\n" for number in range(5_100)))
    (tree / "b.py").write_text("import os\n")
    pages = [code.find_unused_imports(".", limit=3_000, offset=offset) for offset in (0, 3_000)]
    assert [page.get("next_offset") for page in pages] == [3_000, None]
    assert len({row["name"] for page in pages for row in page["unused_imports"]}) == 5_101
    assert code.find_unused_imports(".", limit=0)["unused_imports"] == []
    with pytest.raises(ToolError, match="5,100 rows"):
        code.find_unused_imports("a.py")


def test_a_large_file_is_parsed_in_a_process_of_its_own(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_MEMORY_BYTES", 160 << 20)
    (tree / "a.py").write_text("f();" * 400_000)
    (tree / "b.py").write_text("def f(): ...\n")
    page = code.find_functions(".")
    assert (page["total"], [each["file"] for each in page["errors"]]) == (1, ["a.py"])
    with pytest.raises(ToolError, match="too large"):
        code.call_graph("a.py")


def test_a_file_with_an_error_has_no_unused_imports(tree: Path) -> None:
    (tree / "a.py").write_text("import os\ndef (:\n")
    (tree / "b.js").write_text("import os\n")
    page = code.find_unused_imports(".", file_pattern="*.*")
    assert (page["total"], [each["file"] for each in page["errors"]]) == (0, ["b.js", "a.py"])


def test_files_that_vanish_are_listed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.py", "b.py"):
        (tree / name).write_text("import os\n")
    found = survey.Where.places

    def places(where: survey.Where, skipped: Any) -> Any:
        listed = found(where, skipped)
        (tree / "a.py").unlink()
        return listed

    monkeypatch.setattr(survey.Where, "places", places)
    page = code.find_imports(".")
    assert (page["total"], page["errors"]) == (1, [{"file": "a.py", "error": "it vanished", "line": None}])


def test_links_and_fifos_are_not_read(tree: Path) -> None:
    (tree / "loop").symlink_to(tree)
    (tree / "a.py").symlink_to(tree / "a.py")
    os.mkfifo(tree / "b.py")
    page = code.find_functions(".")
    assert (page["total"], [each["file"] for each in page["errors"]]) == (0, ["b.py"])


def test_the_copies_of_a_search_that_was_killed_are_swept(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tree.parent))
    left = Path(tempfile.mkdtemp(prefix=unused_imports.PREFIX))
    (left / "module.py").write_text("import os\n")
    os.utime(left, (0, 0))
    (tree / "a.py").write_text("import os\n")
    assert code.find_unused_imports("a.py") == [{"name": "os", "line": 1}]
    assert not [*tree.parent.glob(f"{unused_imports.PREFIX}*")]
