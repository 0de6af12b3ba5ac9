"""The client's messages, one on each line. The SDK silently drops a message that it can't read, and the client would
wait forever: here such a message is repaired where that is possible, else refused."""

from __future__ import annotations

import asyncio
import json
import re
from typing import IO, TYPE_CHECKING, Any

import mcp_types as types
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from rlm.mcp.server.refusals import Server

    Refuse = Callable[[str | int | None], Awaitable[None]]

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPES = re.compile(r"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})")
"""Escaped backslashes and whole surrogate pairs, so that only a lone surrogate matches as `half`."""
_UNREADABLE = "this is not a message of the protocol, or its values are nested too deep"


class Requests:
    """The lines of a file that the SDK can read, in order."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.refuse: Refuse | None = None
        """Called with the id of a message that can't be read, or with None if it has no id."""

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await asyncio.to_thread(self._file.readline):
            readable = _ESCAPES.sub(_whole, line) if _HALF.search(line) else line
            try:
                types.jsonrpc_message_adapter.validate_json(readable, by_name=False)
            except ValidationError:
                if self.refuse is not None and line.strip():
                    await self.refuse(_id_of(readable))
            else:
                yield readable


async def serve_lines(server: Server, reading: IO[str]) -> None:
    """Serve the client whose messages are these lines, until they end; it is answered on stdout."""
    requests: Any = Requests(reading)
    async with stdio_server(requests) as (received, sent):

        async def refuse(request_id: str | int | None) -> None:
            error = types.ErrorData(code=types.INVALID_REQUEST, message=_UNREADABLE)
            await sent.send(SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error)))

        requests.refuse = refuse
        await server.serve_messages(received, sent)


def _whole(escape: re.Match[str]) -> str:
    return "\\ufffd" if escape["half"] else escape[0]


def _id_of(line: str) -> str | int | None:
    """The id of a request that the SDK can't read, if it is JSON at all."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    given = found.get("id") if isinstance(found, dict) else None
    return given if isinstance(given, str | int) and not isinstance(given, bool) else None
