"""The README's Python runs as it stands, against a real server that speaks the wire."""

import re
from pathlib import Path

from tests.servers.openai_server import completion, openai_server

README = Path(__file__).parents[2] / "README.md"


def python_blocks():
    return re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


async def test_the_python_examples_run(tmp_path, monkeypatch, capsys):
    import asyncio

    block = "\n".join(python_blocks())
    (tmp_path / "tickets").mkdir()
    (tmp_path / "tickets" / "1.txt").write_text("Ada complained. Ada complained again.")
    async with openai_server(*[completion('["Ada"]')] * 2, completion("No.")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.chdir(tmp_path)
        await asyncio.to_thread(exec, compile(block, "README.md", "exec"), {})
    assert len(server.requests) == 3
    assert "['Ada']" in capsys.readouterr().out
