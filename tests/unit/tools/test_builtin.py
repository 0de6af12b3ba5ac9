from __future__ import annotations

import gzip

import pytest

from rlm.core.exceptions import ToolError
from rlm.processes.worker import WorkerPool
from rlm.tools import builtin
from rlm.tools.builtin import file_tools


@pytest.fixture
def folder(tmp_path):
    top = tmp_path / "top"
    (top / "src").mkdir(parents=True)
    (top / "src" / "a.py").write_text("import os\nclass A: pass\n")
    (top / "src" / "b.txt").write_text("one\r\ntwo\r\nclass three\r\n")
    (top / "x.gz").write_bytes(gzip.compress(b"class"))
    (top / ".hidden").write_text("class hidden")
    (tmp_path / "secret").write_text("class secret")
    (top / "out").symlink_to(tmp_path / "secret")
    return top


@pytest.fixture
async def tools(folder):
    workers = WorkerPool()
    yield {tool.spec.name: tool for tool in file_tools([str(folder)], workers)}
    await workers.aclose()


def test_nothing_allowed_is_no_tools():
    assert file_tools([], WorkerPool()) == ()


def test_all_only_read(tools):
    assert all(tool.reads_only for tool in tools.values())
    assert list(tools) == ["file_read", "list_files", "search_files"]


async def test_lines_are_read_from_one_and_inclusive(tools):
    read = tools["file_read"].call
    assert await read({"path": "src/b.txt"}) == "one\r\ntwo\r\nclass three\r\n"
    assert await read({"path": "src/b.txt", "start_line": 2, "end_line": 2}) == "two\r\n"
    assert await read({"path": "src/b.txt", "start_line": 3, "end_line": 9}) == "class three\r\n"
    with pytest.raises(ToolError, match="has only 3 lines"):
        await read({"path": "src/b.txt", "start_line": 4})
    with pytest.raises(ToolError, match="count from 1"):
        await read({"path": "src/b.txt", "start_line": 0})


async def test_lines_are_counted_as_the_helpers_count_them(tools, folder):
    (folder / "p.log").write_bytes(b"10%\r20%\rdone\nnext line\n")
    (folder / "mac.txt").write_bytes(b"one\rnext line\r")
    read, search = tools["file_read"].call, tools["search_files"].call
    assert await search({"pattern": "next|20%"}) == (
        "mac.txt:2:next line\np.log:1:10%\\r20%\\rdone\np.log:2:next line\n[1 binary files were not searched]\n"
        "[1 hidden or git-ignored entries are left out]\n[1 entries cannot be read]"
    )
    assert await read({"path": "p.log", "start_line": 1, "end_line": 1}) == "10%\r20%\rdone\n"
    assert await read({"path": "mac.txt", "start_line": 2}) == "next line\n"


async def test_what_an_edit_left_half_done_is_put_back_first(folder):
    calls = []
    workers = WorkerPool(size=1)
    tools = {tool.spec.name: tool for tool in file_tools([str(folder)], workers, lambda: calls.append(len(calls)))}
    await tools["file_read"].call({"path": "src/a.py"})
    await tools["list_files"].call({})
    await tools["search_files"].call({"pattern": "class"})
    await workers.aclose()
    assert calls == [0, 1, 2]


async def test_a_long_file_is_capped_with_the_way_on(tools, folder):
    (folder / "long").write_text("".join(f"{n}\n" for n in range(1, 5001)))
    text = await tools["file_read"].call({"path": "long"})
    assert text.endswith("2000\n[lines 1 to 2000 are shown; there is more from start_line=2001]")
    assert (await tools["file_read"].call({"path": "long", "start_line": 4990})).endswith("5000\n")


async def test_a_long_line_and_many_wide_ones_are_capped(tools, folder):
    (folder / "line").write_text("x" * 3_000_000)
    assert "search_files finds text in it" in await tools["file_read"].call({"path": "line"})
    (folder / "wide").write_text(("y" * 999 + "\n") * 500)
    text = await tools["file_read"].call({"path": "wide"})
    assert text.endswith("[lines 1 to 100 are shown; there is more from start_line=101]")


async def test_other_encodings_and_empty_files_are_read(tools, folder):
    (folder / "utf16").write_text("größe\n", encoding="utf-16")
    (folder / "latin").write_text("größe\n" * 20, encoding="latin-1")
    (folder / "empty").touch()
    assert await tools["file_read"].call({"path": "utf16"}) == "größe\n"
    assert (await tools["file_read"].call({"path": "latin"})).startswith("größe\n")
    assert await tools["file_read"].call({"path": "empty"}) == ""


@pytest.mark.parametrize(
    ("path", "message"),
    [("../secret", "outside"), ("out", "outside"), ("/etc/passwd", "outside"), ("src", "folder"), ("x.gz", "gunzip")],
)
async def test_what_may_not_or_cannot_be_read_is_refused(tools, path, message):
    with pytest.raises(ToolError, match=message):
        await tools["file_read"].call({"path": path})


async def test_files_are_listed_with_sizes_and_what_is_left_out(tools):
    listed = await tools["list_files"].call({})
    assert listed.splitlines()[:2] == ["src/a.py (24 bytes)", "src/b.txt (23 bytes)"]
    assert "[1 hidden or git-ignored entries are left out]" in listed
    assert "[1 entries cannot be read]" in listed
    assert "secret" not in listed
    assert ".hidden" in await tools["list_files"].call({"hidden": True})
    assert (await tools["list_files"].call({"path": "src", "pattern": "*.py"})) == "src/a.py (24 bytes)"


async def test_a_list_is_capped(tools):
    listed = await tools["list_files"].call({"path": "src", "limit": 1})
    assert listed.splitlines()[1].startswith("[1 of 2 files are shown")
    assert "no file in 'src' matches" in await tools["list_files"].call({"path": "src", "pattern": "*.rs"})


async def test_searching_gives_path_line_and_text(tools):
    found = await tools["search_files"].call({"pattern": "^CLASS \\w+$", "ignore_case": True})
    assert found.splitlines()[0] == "src/b.txt:3:class three"
    assert "[1 binary files were not searched]" in found
    assert "secret" not in found
    assert (await tools["search_files"].call({"pattern": "os", "path": "src/a.py"})) == "src/a.py:1:import os"
    assert (await tools["search_files"].call({"pattern": "class", "glob": "*.py"})).startswith("src/a.py:2")


async def test_a_search_is_capped_in_number_and_width(tools, folder):
    (folder / "many").write_text("hit\n" * 5000)
    found = await tools["search_files"].call({"pattern": "hit", "path": "many", "max_results": 10})
    assert len(found.splitlines()) == 11
    assert "stopped at 10 lines" in found
    (folder / "wide").write_text("x" * 10_000 + "needle" + "x" * 10_000)
    (line,) = (await tools["search_files"].call({"pattern": "needle", "path": "wide"})).splitlines()
    assert "needle" in line
    assert len(line) < 400


async def test_a_broken_pattern_is_explained(tools):
    with pytest.raises(ToolError, match="not a Python regular expression"):
        await tools["search_files"].call({"pattern": "("})
    with pytest.raises(ToolError, match="lone surrogates"):
        await tools["search_files"].call({"pattern": "\ud800"})


async def test_hostile_patterns_end(tools, folder, monkeypatch):
    monkeypatch.setattr(builtin, "SEARCH_TIMEOUT_S", 0.3)
    (folder / "a").write_text("a" * 60)
    await tools["list_files"].call({})
    with pytest.raises(ToolError, match="took longer"):
        await tools["search_files"].call({"pattern": "(a+)+b"})
    await tools["list_files"].call({})
    with pytest.raises(ToolError, match=r"took longer|too much memory"):
        await tools["list_files"].call({"pattern": "{a,b}" * 40})


async def test_several_roots_are_all_listed_by_names_that_tell_them_apart(folder, tmp_path):
    (tmp_path / "one.txt").write_text("class one")
    workers = WorkerPool()
    _read, listing, search = file_tools([str(folder / "src"), str(tmp_path / "one.txt")], workers)
    listed = await listing.call({})
    assert "one.txt (9 bytes)" in listed
    assert "src/a.py" in listed
    assert str(tmp_path) not in listed
    assert "one.txt:1:class one" in await search.call({"pattern": "class"})
    await workers.aclose()
