"""The client behind a request: who it is, which folders it works in, and whether its model can be asked.

The protocol has two eras: in the older one a server may ask the client (roots, sampling), in the newer it may not.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from rlm.core.texts import escape_surrogates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.server.mcpserver import Context

    from rlm.backends.host import HostBackend, Sampler
    from rlm.core.types import Message, ModelRequest

STDIO = "stdio"
ANY_HTTP = "http"
"""The owner of the sessions of all clients that carry only the token, which doesn't tell them apart."""
SESSION_HEADER = "mcp-session-id"
ROOTS_S = 5.0
SAMPLINGS = 8
"""The most requests to a client's model at one time."""


def owner_of(ctx: Context[Any, Any]) -> str:
    """Who owns the sessions that this request opens."""
    if ctx.request_context.request is None:
        return STDIO
    session = (ctx.headers or {}).get(SESSION_HEADER)
    return ANY_HTTP if session is None or is_modern(ctx) else http_owner(session)


def http_owner(session: str) -> str:
    """The owner behind a session of the HTTP transport."""
    return f"{ANY_HTTP}:{session}"


def is_modern(ctx: Context[Any, Any]) -> bool:
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


async def folders_of(ctx: Context[Any, Any]) -> list[Path]:
    """The folders that a client may load from where none are configured: its roots, and the server's own folder.

    Never a whole home folder or a whole machine: those have to be named in `allowed_paths`.
    """
    found = [Path.cwd(), *(await _roots(ctx))]
    too_much = {Path("/"), Path.home()}
    return list(dict.fromkeys(path for path in found if path.resolve() not in too_much and path.is_dir()))


async def _roots(ctx: Context[Any, Any]) -> list[Path]:
    capabilities = ctx.client_capabilities
    if capabilities is None or capabilities.roots is None or not ctx.session.can_send_request:
        return []
    with suppress(MCPError, ValidationError, TimeoutError):
        async with asyncio.timeout(ROOTS_S):
            asked = types.ListRootsRequest()
            result = await ctx.session.send_request(asked, types.ListRootsResult, metadata=_related(ctx))
        return [path for root in result.roots if (path := _path_of(str(root.uri))) is not None]
    return []


def _path_of(uri: str) -> Path | None:
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        return None
    path = Path(os.fsdecode(unquote(parts.path).encode()))
    return path if path.is_absolute() else None


@asynccontextmanager
async def sampling(ctx: Context[Any, Any], host: HostBackend | None) -> AsyncIterator[None]:
    """Have the client's model answer directly while this request lasts, where the client offers that."""
    capabilities = ctx.client_capabilities
    offered = capabilities is not None and capabilities.sampling is not None and ctx.session.can_send_request
    if host is None or not offered:
        yield
        return
    host.sampler = _sampler(ctx)
    try:
        yield
    finally:
        host.sampler = None


def _sampler(ctx: Context[Any, Any]) -> Sampler:
    places = asyncio.Semaphore(SAMPLINGS)

    async def sample(request: ModelRequest) -> str | None:
        asked = types.CreateMessageRequest(params=_sampling_params(request))
        async with places:
            try:
                result = await ctx.session.send_request(asked, types.CreateMessageResult, metadata=_related(ctx))
            except (MCPError, ValidationError):  # refused, or not what was offered: the host is asked by a result
                return None
        return result.content.text if isinstance(result.content, types.TextContent) else None

    return sample


def _sampling_params(request: ModelRequest) -> types.CreateMessageRequestParams:
    system = [message.content for message in request.messages if message.role == "system"]
    return types.CreateMessageRequestParams(
        messages=[_sampling_message(message) for message in request.messages if message.role != "system"],
        system_prompt="\n\n".join(system) or None,
        max_tokens=request.max_output_tokens,
        temperature=request.temperature,
    )


def _sampling_message(message: Message) -> types.SamplingMessage:
    text = escape_surrogates(message.content)
    role: Any = "assistant" if message.role == "assistant" else "user"
    return types.SamplingMessage(role=role, content=types.TextContent(type="text", text=text))


def _related(ctx: Context[Any, Any]) -> ServerMessageMetadata:
    return ServerMessageMetadata(related_request_id=ctx.request_context.request_id)
