"""The MCP server: its tools, resources and prompt, and what lives as long as it does. It knows nothing of transports.

Tools answer in plain text, since hosts show structured content to their model in place of text. A mistake that a model
can correct is a tool error that says how; an exception in a cell is a result.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import asynccontextmanager, suppress
from functools import wraps
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver.exceptions import ToolError as Refusal
from mcp_types import ToolAnnotations

from rlm.core.exceptions import RLMError
from rlm.mcp.server import steering, texts
from rlm.mcp.server.approvals import Approvals
from rlm.mcp.server.orchestration import Orchestration
from rlm.mcp.server.records import add_records
from rlm.mcp.server.refusals import Server
from rlm.mcp.server.results import clean
from rlm.mcp.server.sessions import Sessions
from rlm.mcp.server.tools import Tools
from rlm.runtime.models import BackendPool
from rlm.runtime.wiring import Parts
from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mcp.server import MCPServer

    from rlm.core.config import Config

NAME = "rlm"
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
ACTS = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
ENDS = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False)
EDITS = ENDS
"""For a tool whose cells may change files by helpers."""
SHOWN = {"anthropic/alwaysLoad": True, "anthropic/maxResultSizeChars": 100_000}
"""Claude Code shows its model no more than the names of tools without `alwaysLoad`, until the model searches for them;
and it puts longer results into a file."""


class App:
    """The server and what it holds."""

    def __init__(self, config: Config) -> None:
        approvals = Approvals()
        self.parts = Parts(backends=BackendPool(), tools=(), sinks=(), approver=approvals.ask)
        self.sessions = Sessions(self.parts, config)
        asks_host = self.sessions.asks_host
        edits = bool(config.allowed_paths) and not {*config.helper_rights} <= {"read"}
        self.server = Server(
            NAME,
            version=__version__,
            instructions=texts.instructions(config, asks_host=asks_host),
            lifespan=self._lifespan,
            log_level="WARNING",
        )
        tools = Tools(self.parts, self.sessions, config, approvals)
        self._add(tools.execute_python, EDITS if edits else ACTS, SHOWN)
        self._add(tools.load_context, ACTS, SHOWN)
        if asks_host:
            self._add(tools.answer_queries, ACTS, SHOWN)
        else:
            self._add(tools.run_rlm, ACTS)
        self._add(tools.get_repl_context, READS)
        self._add(tools.set_repl_context, ACTS)
        self._add(tools.clear_repl_context, ENDS)
        self._add(tools.list_sessions, READS)
        self._add(tools.destroy_session, ENDS)
        self._add(tools.verify_execution, READS)
        orchestration = Orchestration(config, approvals)
        self._add(orchestration.get_task_complexity, READS)
        self._add(orchestration.validate_task_list, READS)
        self._add(orchestration.suggest_execution_strategy, READS)
        if not asks_host:
            self._add(orchestration.run_task_list, ACTS)
        self._add(orchestration.get_execution_history, READS)
        self._add(orchestration.get_hook_status, READS)
        self._add(orchestration.check_websocket_status, READS)
        self._add(steering.monitor_execution, READS)
        self._add(steering.control_execution, ENDS)
        self.server.prompt(name="rlm", title="Work on large data", description=texts.PROMPT_DESCRIPTION)(texts.prompt)
        add_records(self.server, config)

    def _add(
        self, function: Callable[..., Any], annotations: ToolAnnotations, meta: dict[str, Any] | None = None
    ) -> None:
        description = inspect.getdoc(function)  # without the indentation of the source
        self.server.add_tool(
            _answering(function), description=description, annotations=annotations, meta=meta, structured_output=False
        )

    @asynccontextmanager
    async def _lifespan(self, _server: MCPServer[None]) -> AsyncIterator[None]:
        watching = asyncio.ensure_future(self.sessions.watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await self.aclose()

    async def aclose(self) -> None:
        """Close every session and everything they share; idempotent."""
        await self.sessions.aclose()
        await self.parts.aclose()


def _answering(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make errors of a tool tool errors, which the caller's model reads, and its answers texts that can be sent: a cell
    may return what can't be encoded, and an error of the SDK would end the server."""

    @wraps(function)
    async def answering(*args: Any, **kwargs: Any) -> str:
        try:
            answer: str = await function(*args, **kwargs)
        except RLMError as error:
            raise Refusal(clean(str(error))) from error
        return clean(answer)

    return answering
