"""One tool of an MCP server: what a model is told of it, and what becomes of its results."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mcp import MCPError

from rlm.core.exceptions import ToolError
from rlm.core.plain import one_line
from rlm.core.types import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp.types import CallToolResult, Tool

    from rlm.core.types import Json
    from rlm.tools.mcp.kept import KeptServer

DESCRIPTION_CHARS = 1_000
SCHEMA_CHARS = 20_000
NAME_CHARS = 64
_PATH = re.compile(r"(?:^|_)(?:path|file|uri)s?$|(?i:filepath|filename|file_name)")
_LABEL_START = "[REDACTED_"
"""The start of each label that `rlm.secrets` writes."""
_UNFIT = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True, kw_only=True)
class McpTool:
    """A tool that a server offers; by default guest code can't call it, whatever the server says of it."""

    server: KeptServer = field(repr=False)
    remote_name: str
    spec: ToolSpec
    reads_only: bool = False
    writes_files: bool = False
    """Whether it may write into a file that an argument names: it takes a path, and doesn't say that it only reads."""

    async def call(self, arguments: Mapping[str, Json]) -> Json:
        """Have the server run the tool. Cancellation is passed on to it.

        Raises:
            ToolError: the server refused, failed, took too long, or died.
        """
        config, name = self.server.config, self.server.name
        if self.writes_files and not config.labels:
            _require_no_label(self.spec.name, arguments)
        try:
            result = await self.server.call(self.remote_name, dict(arguments))
        except TimeoutError as error:
            raise ToolError(
                f"{self.spec.name}: the server {name} did not answer within {config.timeout_s:g} s"
            ) from error
        except MCPError as error:
            raise ToolError(f"{self.spec.name}: {one_line(str(error), 1_000)}") from error
        said = shortened(text_of(result), config.output_chars)
        if result.is_error:
            raise ToolError(f"{self.spec.name}: {shortened(said, 2_000)}")
        return said


def spec_of(server: str, tool: Tool) -> ToolSpec:
    """What a model is told of a server's tool.

    Raises:
        ToolError: its schema is too large, or isn't that of an object.
    """
    schema: dict[str, Any] = dict(tool.input_schema)
    if schema.setdefault("type", "object") != "object" or not isinstance(schema.setdefault("properties", {}), dict):
        raise ToolError("its arguments are not an object")
    if len(json.dumps(schema)) > SCHEMA_CHARS:
        raise ToolError(f"its schema has more than {SCHEMA_CHARS:,} characters")
    said = one_line(tool.description or tool.title or tool.name, DESCRIPTION_CHARS)
    description = f"{said} (A tool of the MCP server {server}, in its own words.)"
    return ToolSpec(name=local_name(server, tool.name), description=description, parameters=schema)


def writes_files(tool: Tool) -> bool:
    """Whether a tool may write into a file that an argument names."""
    if tool.annotations is not None and tool.annotations.read_only_hint:
        return False
    return any(map(_PATH.search, tool.input_schema.get("properties") or ()))


def _require_no_label(name: str, arguments: Mapping[str, Json]) -> None:
    """Check that no label of a masked secret would be written to a file, which may hold the secret.

    Raises:
        ToolError: an argument has one.
    """
    if _LABEL_START in json.dumps(dict(arguments), ensure_ascii=False, default=str):
        raise ToolError(
            f"{name}: an argument holds a label such as {_LABEL_START}API_KEY], shown in the place of a secret: "
            "in the file it would overwrite that. Nothing was called. Edit around the secret, without the lines that "
            "hold it; where files are meant to speak of labels, the user can set labels = true for this server."
        )


def local_name(server: str, tool: str) -> str:
    """`server__tool`, of letters that every provider takes."""
    return f"{_UNFIT.sub('_', server)}__{_UNFIT.sub('_', tool)}"[:NAME_CHARS]


def text_of(result: CallToolResult) -> str:
    """A result as text: its texts, or its structured content where it has none; other parts are named."""
    parts = [block.text if block.type == "text" else f"[{block.type}, not shown]" for block in result.content]
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(parts)


def shortened(text: str, most_chars: int) -> str:
    """`text`, without its middle where it is longer than `most_chars`, and with a mark that says so."""
    if len(text) <= most_chars:
        return text
    half = most_chars // 2
    return f"{text[:half]}\n[{len(text) - 2 * half:,} characters left out]\n{text[-half:]}"
