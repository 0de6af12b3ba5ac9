"""Says why a call is refused: which argument is wrong, what it should be, and what it is. The SDK alone would say it in
the terms of its validation library."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError as Refusal
from mcp.server.mcpserver.exceptions import UnexpectedToolError
from pydantic import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_EXPECTED = {
    "bool_": "true or false",
    "dict_": "an object",
    "float_": "a number",
    "int_": "a whole number",
    "list_": "a list",
    "string_": "a string",
}
"""What an argument should be, by the beginning of pydantic's type of error."""
_GIVEN = {bool: "true or false", dict: "an object", float: "a number", int: "a number", list: "a list", str: "a string"}
_SHOWN = 8


class Server(MCPServer[None]):
    """The SDK's server, with refusals that a model or a person can act upon."""

    _arguments: dict[str, tuple[str, ...]] | None = None

    async def serve_messages(self, received: Any, sent: Any) -> None:
        """Serve the client behind two streams of messages, until the first ends."""
        await self._lowlevel_server.run(received, sent, self._lowlevel_server.create_initialization_options())

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Call a tool. Raises:
        ToolError: there is no such tool, an argument is wrong, or the tool refused.
        """
        if self._arguments is None:
            tools = await self.list_tools()
            self._arguments = {tool.name: tuple(tool.input_schema.get("properties", {})) for tool in tools}
        if name not in self._arguments:
            raise Refusal(f"there is no tool {name[:64]!r}; there are {', '.join(self._arguments)}")
        _refuse_unknown(arguments, self._arguments[name])
        try:
            return await super().call_tool(name, arguments, context)
        except UnexpectedToolError as error:
            raise UnexpectedToolError(f"{name} failed inside the server; its stderr says where") from error
        except Refusal as refusal:
            if isinstance(refusal.__cause__, ValidationError):
                raise Refusal(in_words(refusal.__cause__)) from refusal
            raise Refusal(str(refusal).removeprefix(f"Error executing tool {name}: ")) from refusal


def _refuse_unknown(given: Iterable[str], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            close = get_close_matches(name[:64], known, n=1)
            meant = f"; did you mean {close[0]}?" if close else "."
            raise Refusal(f"there is no argument {name[:64]!r}{meant} It takes: {', '.join(known) or 'none'}")


def in_words(error: ValidationError) -> str:
    """Each argument that is wrong, with what it should be; without its value, which may be long or secret."""
    wrong: dict[str, list[Mapping[str, Any]]] = {}
    for each in error.errors(include_url=False):
        wrong.setdefault(str(each["loc"][0]), []).append(each)
    return "; ".join(_about(name, found) for name, found in list(wrong.items())[:_SHOWN])


def _about(name: str, found: list[Mapping[str, Any]]) -> str:
    if found[0]["type"] == "missing":
        return f"the argument {name} is missing"
    expected = [words for each in found for start, words in _EXPECTED.items() if each["type"].startswith(start)]
    if not expected:
        return f"{name}: {found[0]['msg']}"
    place = "".join(f"[{step}]" for step in found[0]["loc"][1:] if isinstance(step, int))
    given = _GIVEN.get(type(found[0]["input"]), "null")
    return f"{name}{place} has to be {' or '.join(dict.fromkeys(expected))}, and is {given}"
