"""What a model is told of a server's tool, and of its results."""

from __future__ import annotations

import pytest
from mcp.types import CallToolResult, ImageContent, TextContent, Tool

from rlm.core.exceptions import ConfigError, ToolError
from rlm.tools.mcp.servers import McpServers
from rlm.tools.mcp.tool import local_name, shortened, spec_of, text_of


@pytest.mark.parametrize(
    ("server", "tool", "name"),
    [("a", "b", "a__b"), ("my-server", "get.it/now", "my_server__get_it_now"), ("s", "t" * 99, "s__" + "t" * 61)],
)
def test_names_are_fit_for_every_provider(server: str, tool: str, name: str) -> None:
    assert local_name(server, tool) == name


def test_a_schema_is_passed_on_and_completed() -> None:
    assert spec_of("s", Tool(name="t", input_schema={})).parameters == {"type": "object", "properties": {}}
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert spec_of("s", Tool(name="t", input_schema=schema)).parameters == schema


@pytest.mark.parametrize(
    "schema", [{"type": "array"}, {"type": "object", "properties": 3}, {"properties": {"x" * 30_000: {}}}]
)
def test_a_schema_that_is_none_is_refused(schema: dict[str, object]) -> None:
    with pytest.raises(ToolError):
        spec_of("s", Tool(name="t", input_schema=schema))


def test_a_tool_without_a_description_is_told_by_its_name() -> None:
    assert spec_of("s", Tool(name="t", input_schema={})).description.startswith("t (A tool of the MCP server s")


def test_a_result_is_its_texts_and_names_its_other_parts() -> None:
    image = ImageContent(type="image", data="aGk=", mime_type="image/png")
    result = CallToolResult(content=[TextContent(type="text", text="a"), image], structured_content={"b": 1})
    assert text_of(result) == "a\n[image, not shown]"
    assert text_of(CallToolResult(content=[], structured_content={"b": 1})) == '{"b": 1}'
    assert text_of(CallToolResult(content=[])) == ""


def test_a_description_is_one_line_and_steers_no_terminal() -> None:
    hostile = Tool(name="t", description="a\x1b[2J\n\tb\x07" + "c" * 9_999, input_schema={})
    assert spec_of("s", hostile).description.startswith("a b\\x07ccc")
    assert len(spec_of("s", hostile).description) < 1_100


def test_a_long_result_is_shortened_in_its_middle() -> None:
    assert shortened("a" * 10 + "b" * 10, 8) == "aaaa\n[12 characters left out]\nbbbb"
    assert shortened("short", 8) == "short"


@pytest.mark.parametrize("name", ["", "1st", "a__b", "a b", "x" * 33, "é"])
def test_a_server_has_a_name_that_a_tool_can_have(name: str) -> None:
    with pytest.raises(ConfigError, match="a name has up to 32"):
        McpServers({name: None}, {})  # type: ignore[dict-item]
