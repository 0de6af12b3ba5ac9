"""Whose sessions give way where there are too many."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rlm.core.config import Config, McpConfig
from rlm.core.exceptions import ToolError
from rlm.mcp.server.clients import ANY_HTTP, http_owner
from rlm.mcp.server.session import HostSession
from rlm.mcp.server.sessions import Sessions
from rlm.runtime.models import BackendPool
from rlm.runtime.wiring import Parts


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[Sessions]:
    """Those of a server that has place for one."""
    config = Config(environment="local", log_dir=str(tmp_path), max_sandboxes=1, mcp=McpConfig(max_sessions=1))
    parts = Parts(backends=BackendPool(), tools=(), sinks=())
    made = Sessions(parts, config)
    yield made
    await made.aclose()
    await parts.aclose()


async def _quiet(_text: str) -> None:
    """Progress that nobody asked for."""


async def used(sessions: Sessions, owner: str, name: str | None, code: str = "x = 1") -> HostSession:
    session = await sessions.ensure(owner, name)
    await session.execute(code, None, _quiet)
    return session


@pytest.mark.parametrize(("code", "idle_s"), [("x = 1", 61.0), ("llm_query('?')", 601.0)])
async def test_one_that_was_left_behind_gives_way_and_its_next_call_is_told(
    sessions: Sessions, code: str, idle_s: float
) -> None:
    first = await used(sessions, ANY_HTTP, None, code)
    for owner in (ANY_HTTP, http_owner("other")):
        with pytest.raises(ToolError, match="try again later"):  # it was used within the last minute
            await sessions.ensure(owner, None)
    first.used_at -= idle_s
    second = await sessions.ensure(ANY_HTTP, None)
    assert (first.repl, sessions.of(ANY_HTTP)) == (None, [second])
    with pytest.raises(ToolError, match=r"was closed: another client needed its place.*variables are gone"):
        await sessions.ensure(ANY_HTTP, first.id)


async def test_one_that_a_client_named_gives_way_to_nobody(sessions: Sessions) -> None:
    first = await used(sessions, ANY_HTTP, "mine")
    first.used_at -= 3_000.0
    with pytest.raises(ToolError, match="try again later"):
        await sessions.ensure(ANY_HTTP, None)
    await sessions.destroy(ANY_HTTP, "mine")
    await sessions.ensure(ANY_HTTP, None)
