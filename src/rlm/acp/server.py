"""Serves one editor over this process's own stdin and stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from acp.core import AgentSideConnection

from rlm.acp.agent import EditorAgent
from rlm.acp.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from acp import Agent

    from rlm.processes.own_streams import Descriptors


async def serve(overrides: Mapping[str, Any], wire: Descriptors) -> None:
    """Serve until the editor closes stdin, or this is cancelled; then what is in progress ends.

    Raises:
        ConfigError: no editor is there.
    """
    lines, agent = await Lines.over(wire), EditorAgent(overrides)
    connection = AgentSideConnection(cast("Agent", agent), lines, listening=False, use_unstable_protocol=True)
    try:
        await connection.listen()
    finally:
        await agent.aclose()
        await connection.close()
