"""Asks the user, by their editor, before a tool is called that may change something."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import acp
from acp.schema import AllowedOutcome, PermissionOption, SessionMode, SessionModeState, ToolCallLocation, ToolCallUpdate
from pydantic import ValidationError

from rlm.acp.updates import kind_of, shown, shown_values
from rlm.core.exceptions import ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.interfaces import Tool
    from rlm.core.types import Json

ASK, EDIT, READ = "ask", "edit", "read"
MODES = (
    SessionMode(id=ASK, name="Ask", description="Ask before anything is changed."),
    SessionMode(id=EDIT, name="Edit", description="Change files without asking."),
    SessionMode(id=READ, name="Read", description="Change nothing."),
)
ONCE, ALWAYS = "once", "always"
_OPTIONS = [
    PermissionOption(option_id=ONCE, name="Allow", kind="allow_once"),
    PermissionOption(option_id=ALWAYS, name="Allow in this session", kind="allow_always"),
    PermissionOption(option_id="no", name="Refuse", kind="reject_once"),
]


class Asking:
    """The permission of one session: its mode, and what the user has allowed for good."""

    def __init__(self, client: acp.Client, session_id: str) -> None:
        self._client = client
        self._session_id = session_id
        self._allowed: set[str] = set()
        self.mode = ASK

    @property
    def modes(self) -> SessionModeState:
        """The modes that there are, and the one that the session is in."""
        return SessionModeState(current_mode_id=self.mode, available_modes=list(MODES))

    async def __call__(self, tool: Tool, arguments: Mapping[str, Json]) -> None:
        """See `rlm.runtime.permission.Permission`."""
        name = tool.spec.name
        is_preview = "." in name and arguments.get("dry_run") is True
        if self.mode == EDIT or name in self._allowed or is_preview:
            return
        if self.mode == READ:
            raise ToolError(f"{name} may change something, and this session may only read")
        call = ToolCallUpdate(
            tool_call_id=_new_id(),
            title=f"Allow {name}?",
            kind=kind_of(name),
            status="pending",
            content=[acp.tool_content(acp.text_block(await _preview(tool, arguments)))],
            locations=_locations(arguments),
            raw_input=shown_values(dict(arguments)),
        )
        chosen = await self._chosen(call, _OPTIONS)
        if chosen == ALWAYS:
            self._allowed.add(name)
        if chosen not in (ONCE, ALWAYS):
            raise ToolError(f"{name} was not permitted: the user refused it, or could not be asked")

    async def confirmed(self, question: str) -> bool:
        """Whether the user says yes to a question of a hook, whatever the mode."""
        call = ToolCallUpdate(tool_call_id=_new_id(), title=shown(question), kind="other", status="pending")
        return await self._chosen(call, [_OPTIONS[0], _OPTIONS[-1]]) == ONCE

    async def _chosen(self, call: ToolCallUpdate, options: list[PermissionOption]) -> str:
        """The id of the option that the user chose; empty where they chose none."""
        try:
            answer = await self._client.request_permission(session_id=self._session_id, tool_call=call, options=options)
        except (acp.RequestError, ConnectionError, ValidationError):
            return ""
        chosen = answer.outcome.option_id if isinstance(answer.outcome, AllowedOutcome) else ""
        status: Any = "completed" if chosen in (ONCE, ALWAYS) else "failed"
        update = acp.update_tool_call(call.tool_call_id, status=status)
        await self._client.session_update(session_id=self._session_id, update=update)
        return chosen


def _new_id() -> str:
    return f"permission-{uuid4().hex}"


async def _preview(tool: Tool, arguments: Mapping[str, Json]) -> str:
    """What the call would change, as far as it can be told before."""
    if "." in tool.spec.name and "dry_run" in tool.spec.parameters.get("properties", {}):
        facts = await tool.call({**arguments, "dry_run": True})
        if isinstance(facts, dict) and facts.get("diff"):
            return f"```diff\n{shown(str(facts['diff']))}\n```"
    return f"```json\n{shown(json.dumps(dict(arguments), indent=2, ensure_ascii=False))}\n```"


def _locations(arguments: Mapping[str, Json]) -> list[ToolCallLocation] | None:
    path = arguments.get("path")
    return [ToolCallLocation(path=shown(path))] if isinstance(path, str) else None
