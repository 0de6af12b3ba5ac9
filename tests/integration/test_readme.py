"""The Python of the README and of docs/python.md runs as it stands, against a real server that speaks the wire."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.servers.openai_server import completion, openai_server

ROOT = Path(__file__).parents[2]


def python_blocks(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


async def run_examples(document):
    block = "\n".join(python_blocks(document))
    await asyncio.to_thread(exec, compile(block, document, "exec"), {})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_the_examples_of_the_readme_run(folder, monkeypatch, capsys):
    (folder / "tickets").mkdir()
    (folder / "tickets" / "1.txt").write_text("Ada complained. Ada complained again.")
    async with openai_server(*[completion('["Ada"]')] * 2, completion("No.")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        await run_examples("README.md")
    assert len(server.requests) == 3
    assert "['Ada']" in capsys.readouterr().out


async def test_the_examples_of_the_python_page_run(folder, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(folder))
    async with openai_server(*[completion("One order is late.")] * 5) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        await run_examples("docs/python.md")
    shown = capsys.readouterr().out
    assert "One order is late." in shown
    assert "run.start" in shown
