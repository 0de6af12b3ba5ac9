"""Asks the user of a client whether a tool may be called, by the protocol's elicitation, while a request of that client
is in progress. A client that can't be asked has said no; the terminal of the server is the host's, and never asked."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.server.mcpserver import Context

ANY = "any"
"""The name of the runs that a request begins by itself."""


class Approval(BaseModel):
    """What the user answers."""

    allow: bool = Field(description="Allow this call?")


class Approvals:
    """The clients that can be asked, by the runs that they wait for; used on the event loop of the server."""

    def __init__(self) -> None:
        self._waiting: dict[str, Context[Any, Any]] = {}
        self._begun: ContextVar[Context[Any, Any] | None] = ContextVar("begun", default=None)
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def of(self, ctx: Context[Any, Any], run_id: str = ANY) -> Iterator[None]:
        """Have the client of a request be asked about a run, or about all that is begun meanwhile."""
        self._loop = asyncio.get_running_loop()
        token = self._begun.set(ctx)
        if run_id != ANY:
            self._waiting[run_id] = ctx
        try:
            yield
        finally:
            self._waiting.pop(run_id, None)
            self._begun.reset(token)

    async def ask(self, run_id: str, question: str) -> bool:
        """Ask the user of the client that waits for a run; may be awaited on any event loop."""
        ctx = self._waiting.get(run_id) or self._begun.get()
        if ctx is None or self._loop is None:
            return False
        asking = asyncio.run_coroutine_threadsafe(_elicited(ctx, question), self._loop)
        return await asyncio.wrap_future(asking)


async def _elicited(ctx: Context[Any, Any], question: str) -> bool:
    capabilities = ctx.client_capabilities
    if capabilities is None or capabilities.elicitation is None or not ctx.session.can_send_request:
        return False
    try:
        said = await ctx.elicit(question, Approval)
    except (MCPError, ValidationError):
        return False
    return said.action == "accept" and said.data.allow
