"""The real Claude Code with the server, against a local server that speaks the Anthropic wire: what `rlm init --claude`
and the plugin give it works from the question to the answer, with no login."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.architecture.sources import ROOT, SRC
from tests.integration.cli import User
from tests.servers import anthropic_server as wire
from tests.servers.faults import Received, WireServer
from tests.support.mcp_clients import big_log
from tests.support.required import needs

pytestmark = needs("claude")

PREFIX, PLUGIN_PREFIX = "mcp__rlm__", "mcp__plugin_rlm_rlm__"
Step = Callable[[str], dict[str, Any]]
"""What the model says next, given the text of the last tool result."""


class Scripted:
    """A model that follows steps in the conversation that has the server's tools, and says ok to anything else."""

    def __init__(self, *steps: Step) -> None:
        self._steps = list(steps)
        self.results: list[str] = []
        """The tool results that it was shown."""
        self.tools: set[str] = set()

    async def __call__(self, received: Received) -> web.StreamResponse:
        offered = {tool["name"] for tool in received.body.get("tools", ()) if "rlm__" in tool["name"]}
        if not offered:
            return await wire.streamed(wire.text("ok"))(received)
        self.tools |= offered
        said = last_result(received.body)
        if said:
            self.results.append(said)
        block = self._steps.pop(0)(said)
        stop = "tool_use" if block["type"] == "tool_use" else "end_turn"
        return await wire.streamed(block, stop=stop)(received)


def last_result(body: dict[str, Any]) -> str:
    """The text of the last tool result of a conversation."""
    blocks = [block for turn in body["messages"] if isinstance(turn["content"], list) for block in turn["content"]]
    results = [block["content"] for block in blocks if block["type"] == "tool_result"]
    if not results:
        return ""
    last = results[-1]
    return last if isinstance(last, str) else "".join(part.get("text", "") for part in last)


def use(tool: str, **arguments: Any) -> Step:
    return lambda _said: wire.tool_use(PREFIX + tool, arguments, f"toolu_{os.urandom(4).hex()}")


def answer_each(said: str) -> dict[str, Any]:
    """Answer every query in a result by its last word."""
    mark = re.search(r'"=== id (\w+)"', said)
    assert mark is not None, said
    texts = re.split(rf"^=== (q\d+) {mark[1]}.*\n", said, flags=re.MULTILINE)[1:]
    answers = {query: text.split()[-1] for query, text in zip(texts[::2], texts[1::2], strict=True)}
    return wire.tool_use(f"{PREFIX}answer_queries", {"answers": answers}, f"toolu_{os.urandom(4).hex()}")


def environ(user: User, server: WireServer) -> dict[str, str]:
    own = {"CLAUDE_CONFIG_DIR": str(user.home / "claude"), "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1"}
    wired = {"ANTHROPIC_BASE_URL": server.base_url, "ANTHROPIC_API_KEY": "sk-ant-dummy"}
    patient = {"MCP_CONNECTION_NONBLOCKING": "false", "MCP_TIMEOUT": "60000", "MCP_CONNECT_TIMEOUT_MS": "60000"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**user.environ, **own, **wired, **patient, "PATH": path}


async def ask(user: User, server: WireServer, prompt: str, *arguments: str) -> dict[str, Any]:
    """What `claude -p` answers, with the server's tools allowed."""
    command = ["claude", "-p", prompt, "--model", "sonnet", "--output-format", "json", "--allowedTools", "mcp__rlm"]
    process = await asyncio.create_subprocess_exec(
        *command,
        *arguments,
        cwd=user.cwd,
        env=environ(user, server),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (out, err)
    return dict(json.loads(out))


async def test_from_the_question_to_the_answer(user: User) -> None:
    """load_context, execute_python, suspended queries, answer_queries."""
    big_log(user.cwd)
    assert user.rlm("init", "--claude").returncode == 0
    look = "errors = [line for line in context.splitlines() if 'ERROR' in line]\nlen(errors)"
    query = "words = llm_query_batched([f'Repeat the number: {line.split()[0]}' for line in errors[:5]])\nprint(words)"
    model = Scripted(
        use("load_context", path="big.log"),
        use("execute_python", code=look),
        use("execute_python", code=query),
        answer_each,
        lambda said: wire.text(f"The first are {said}"),
    )
    async with wire.anthropic_server() as server:
        server.default = model
        result = await ask(user, server, "Which errors?", "--mcp-config", ".mcp.json", "--strict-mcp-config")
    assert result["result"] == "The first are ['0', '10', '20', '30', '40']"
    assert "1,000 lines" in model.results[0]
    assert model.results[1] == "100"
    assert {f"{PREFIX}load_context", f"{PREFIX}answer_queries"} <= model.tools


async def test_a_result_of_many_queries_is_shown_whole(user: User) -> None:
    assert user.rlm("init", "--claude").returncode == 0
    model = Scripted(
        use("execute_python", code="r = llm_query_batched([f'{n} ' + 'word ' * 400 for n in range(100)])\nlen(r)"),
        answer_each,
        answer_each,
        answer_each,
        lambda said: wire.text(said),
    )
    async with wire.anthropic_server() as server:
        server.default = model
        result = await ask(user, server, "Ask a lot.", "--mcp-config", ".mcp.json", "--strict-mcp-config")
    assert result["result"] == "100"


async def test_the_plugin_brings_the_server_and_the_skill(user: User) -> None:
    big_log(user.cwd)
    call = wire.tool_use(f"{PLUGIN_PREFIX}execute_python", {"code": "6 * 7"})
    model = Scripted(lambda _said: call, lambda said: wire.text(said))
    async with wire.anthropic_server() as server:
        server.default = model
        plugin = ("--plugin-dir", str(SRC / "rlm/mcp/plugin"), "--allowedTools", "mcp__plugin_rlm_rlm")
        result = await ask(user, server, "Six times seven?", *plugin)
    assert result["result"] == "42"
    assert "rlm:rlm" in json.dumps(server.requests[-1].body)


@pytest.mark.parametrize("folder", [SRC / "rlm/mcp/plugin", ROOT])
async def test_the_real_tool_accepts_the_manifests(user: User, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "claude",
        "plugin",
        "validate",
        str(folder),
        env=environ(user, WireServer((), wire.strict)),
        stdout=-1,
        stderr=-1,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (out, err)
