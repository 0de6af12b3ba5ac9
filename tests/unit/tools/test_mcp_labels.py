"""A label that a model was shown for a secret goes to no tool of an MCP server that may write it into a file."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mcp.types import CallToolResult, TextContent, Tool, ToolAnnotations

from rlm.core.config import McpServerConfig
from rlm.core.exceptions import ToolError
from rlm.tools.mcp.tool import McpTool, spec_of, writes_files

LABEL = "[REDACTED_GITHUB_TOKEN]"


def tool(*names: str, read_only: bool | None = None, labels: bool = False) -> McpTool:
    """A tool of a server that answers whatever it gets."""
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    annotations = ToolAnnotations(read_only_hint=read_only)
    offered = Tool(name="tool", description="A tool.", input_schema=schema, annotations=annotations)

    async def call(_name: str, _arguments: dict[str, Any]) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text="called")])

    server: Any = SimpleNamespace(config=McpServerConfig(labels=labels), name="files", call=call)
    return McpTool(
        server=server, remote_name="tool", spec=spec_of("files", offered), writes_files=writes_files(offered)
    )


@pytest.mark.parametrize("path", ["path", "file_path", "filename", "filePath", "paths", "uri"])
async def test_a_tool_that_may_write_a_file_gets_no_label(path: str) -> None:
    edits: Any = [{"old": "x", "new": f"TOKEN={LABEL}"}]
    for more in ({"content": f"TOKEN={LABEL}\n"}, {"edits": edits}):
        with pytest.raises(ToolError, match="files__tool: an argument holds a label .* Nothing was called"):
            await tool(path, "content").call({path: "config.env", **more})
    assert await tool(path, "content").call({path: "config.env", "content": "x"}) == "called"


async def test_others_get_what_they_are_given() -> None:
    given = {"path": "a", "text": f"it was {LABEL}"}
    assert await tool("channel", "text", "profile").call(given) == "called"
    assert await tool("path", "text", read_only=True).call(given) == "called"
    assert await tool("path", "text", labels=True).call(given) == "called"
