"""The MCP Inspector's command line as a client that the project did not write."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.integration.cli import RLM, User
from tests.support import node_tools
from tests.support.mcp_clients import big_log
from tests.support.required import needs

pytestmark = needs("node", "inspector")


def inspect(user: User, *arguments: str) -> Any:
    """What the inspector prints of one request to a server of its own."""
    script = node_tools.find("inspector")
    assert script is not None
    command = ["node", str(script), RLM, "mcp-serve", "--method", *arguments]
    done = subprocess.run(command, cwd=user.cwd, env=user.environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def called(user: User, tool: str, *arguments: str) -> str:
    given = [part for argument in arguments for part in ("--tool-arg", argument)]
    result = inspect(user, "tools/call", "--tool-name", tool, *given)
    (content,) = result["content"]
    return str(content["text"])


def test_it_lists_tools_with_schemas_it_accepts(user: User) -> None:
    tools = {tool["name"]: tool for tool in inspect(user, "tools/list")["tools"]}
    assert {"execute_python", "load_context", "answer_queries", "get_repl_context"} <= tools.keys()
    assert tools["execute_python"]["inputSchema"]["required"] == ["code"]


def test_it_calls_tools(user: User) -> None:
    big_log(user.cwd)
    assert called(user, "execute_python", "code=6 * 7") == "42"
    assert "1,000 lines" in called(user, "load_context", "path=big.log")


def test_it_reads_prompts_and_resources(user: User) -> None:
    assert [prompt["name"] for prompt in inspect(user, "prompts/list")["prompts"]] == ["rlm"]
    assert [resource["uri"] for resource in inspect(user, "resources/list")["resources"]] == ["rlm://runs"]
