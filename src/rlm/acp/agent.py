"""The agent that an editor talks to: it answers the methods of the protocol by sessions and runs. What goes wrong is
told in a sentence; the text of an exception that nobody foresaw stays in this process."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import acp
import msgspec
from acp.schema import (
    AgentCapabilities,
    Cost,
    Implementation,
    PromptCapabilities,
    SessionAdditionalDirectoriesCapabilities,
    SessionCapabilities,
    SessionCloseCapabilities,
    SessionInfo,
    SessionListCapabilities,
    SessionResumeCapabilities,
    Usage,
    UsageUpdate,
)

from rlm.acp.permission import MODES, Asking
from rlm.acp.prompts import read_prompt
from rlm.acp.sessions import EditorSession, exchanges, find_session, kept_sessions
from rlm.acp.updates import Updates
from rlm.core.config import Config
from rlm.core.exceptions import AuthenticationError, ConfigError, RLMError
from rlm.core.record.recorder import new_run_id
from rlm.core.texts import escape_surrogates
from rlm.jobs.engines.local import LocalEngine
from rlm.runtime.control import Act
from rlm.trajectory.places import log_folder
from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rlm.acp.sessions import KeptSession
    from rlm.core.config import Loaded
    from rlm.core.outcome import RLMResult
    from rlm.jobs.engines.local import LocalSubmission
    from rlm.runtime.models import BackendPool
    from rlm.runtime.request import Request

_log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
PAGE = 50
FAILED = -32603
WRONG = -32602
NOT_FOUND = -32002
NO_LOGIN = -32000
_STOPS = {"completed": "end_turn", "limit": "max_tokens", "cancelled": "cancelled"}
_TURN_LIMITS = frozenset({"max_turns", "no_progress"})


def told(method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """A method whose failures are told in words, without the text of what nobody foresaw."""

    @wraps(method)
    async def answered(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except acp.RequestError:
            raise
        except RLMError as error:
            raise _refusal(error) from error
        except Exception as error:
            _log.exception("a request of the editor failed")
            raise acp.RequestError(FAILED, f"{type(error).__name__}: this should not happen") from error

    return answered


@dataclass(slots=True)
class Answering:
    """A prompt that is being answered."""

    task: asyncio.Task[RLMResult]
    submission: LocalSubmission | None = None
    """The run, once there is one."""
    run_id: str = ""
    is_cancelled: bool = False


class EditorAgent:
    """Answers one editor; used on one event loop only."""

    def __init__(self, overrides: Mapping[str, Any], backends: BackendPool | None = None) -> None:
        """`overrides` are settings by name that hold in every session."""
        self._overrides = overrides
        self._engine = LocalEngine(backends, approver=self._approved)
        self._sessions: dict[str, EditorSession] = {}
        self._answering: dict[str, Answering] = {}
        self._client: acp.Client
        self._loop: asyncio.AbstractEventLoop

    def on_connect(self, client: acp.Client) -> None:
        """Take note of the editor."""
        self._client, self._loop = client, asyncio.get_running_loop()

    async def aclose(self) -> None:
        """End what is in progress; its records remain, so that sessions can be loaded again."""
        await self._engine.aclose()

    @told
    async def initialize(self, protocol_version: int, **_more: Any) -> acp.InitializeResponse:
        """Say what this agent can do."""
        return acp.InitializeResponse(
            protocol_version=min(protocol_version, acp.PROTOCOL_VERSION),
            agent_capabilities=AgentCapabilities(
                load_session=True,
                prompt_capabilities=PromptCapabilities(image=True, audio=False, embedded_context=True),
                session_capabilities=SessionCapabilities(
                    list=SessionListCapabilities(),
                    close=SessionCloseCapabilities(),
                    resume=SessionResumeCapabilities(),
                    additional_directories=SessionAdditionalDirectoriesCapabilities(),
                ),
            ),
            auth_methods=[],
            agent_info=Implementation(name="rlm", title="rlm", version=__version__),
        )

    @told
    async def authenticate(self, method_id: str, **_more: Any) -> None:
        """Refuse: keys and logins are those of the providers."""
        raise ConfigError(f"there is no login {method_id[:100]!r} here: rlm doctor shows how a model is set up")

    @told
    async def new_session(self, cwd: str, **more: Any) -> acp.NewSessionResponse:
        """Open a session in a workspace."""
        session = await self._opened(new_run_id(), cwd, more)
        return acp.NewSessionResponse(session_id=session.id, modes=session.asking.modes)

    @told
    async def load_session(self, cwd: str, session_id: str, **more: Any) -> acp.LoadSessionResponse:
        """Open a session, or a run, that there was, and show what was said in it."""
        session = await self._taken_up(session_id, cwd, more)
        for each in await asyncio.to_thread(exchanges, session.records):
            await self._tell(session_id, acp.update_user_message_text(escape_surrogates(each.prompt)))
            if each.answer:
                await self._tell(session_id, acp.update_agent_message_text(escape_surrogates(each.answer)))
        return acp.LoadSessionResponse(modes=session.asking.modes)

    @told
    async def resume_session(self, cwd: str, session_id: str, **more: Any) -> acp.schema.ResumeSessionResponse:
        """Open a session, or a run, that there was."""
        session = await self._taken_up(session_id, cwd, more)
        return acp.schema.ResumeSessionResponse(modes=session.asking.modes)

    @told
    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None, **_more: Any
    ) -> acp.schema.ListSessionsResponse:
        """The sessions that there are, of a workspace or of all."""
        kept = [pair for pair in await asyncio.to_thread(kept_sessions) if cwd is None or pair[1].cwd == cwd]
        if cursor is not None and not cursor.isdecimal():
            raise ConfigError("cursor: give the one of the page before")
        first = int(cursor or 0)
        shown = [_info(name, each) for name, each in kept[first : first + PAGE]]
        following = str(first + PAGE) if len(kept) > first + PAGE else None
        return acp.schema.ListSessionsResponse(sessions=shown, next_cursor=following)

    @told
    async def set_session_mode(self, session_id: str, mode_id: str, **_more: Any) -> acp.SetSessionModeResponse:
        """Choose whether edits are asked for, made or refused."""
        session = self._session(session_id)
        if mode_id not in {mode.id for mode in MODES}:
            raise ConfigError(f"there is no mode {mode_id[:100]!r}: {', '.join(mode.id for mode in MODES)}")
        session.asking.mode = mode_id
        return acp.SetSessionModeResponse()

    @told
    async def close_session(self, session_id: str, **_more: Any) -> None:
        """Close a session; its records remain."""
        self._session(session_id)
        await self.cancel(session_id)
        del self._sessions[session_id]

    async def cancel(self, session_id: str, **_more: Any) -> None:
        """End the answer that is under way, if one is."""
        answering = self._answering.get(session_id)
        if answering is None:
            return
        answering.is_cancelled = True
        if answering.submission is None:
            answering.task.cancel()
        else:
            _end(answering)

    @told
    async def prompt(self, session_id: str, prompt: list[Any], **_more: Any) -> acp.PromptResponse:
        """Answer a prompt by a run, whose events are told while it goes on."""
        session = self._session(session_id)
        if session_id in self._answering:
            raise ConfigError("this session answers a prompt already: cancel that, or wait for it")
        answering = Answering(task=asyncio.create_task(self._answered(session, prompt)))
        self._answering[session_id] = answering
        try:
            result = await answering.task
        except asyncio.CancelledError:
            if not answering.is_cancelled:
                raise
            return acp.PromptResponse(stop_reason="cancelled")
        finally:
            answering.task.cancel()
            _end(answering)
            del self._answering[session_id]
        return await self._response(session, result)

    async def _answered(self, session: EditorSession, prompt: list[Any]) -> RLMResult:
        asked = read_prompt(prompt, session.folders)
        request = await asyncio.to_thread(session.request, asked)
        run_id = request.run_id or new_run_id()
        self._answering[session.id].run_id = run_id
        request = replace(request, run_id=run_id)
        submission = await self._engine.submit(request)
        self._answering[session.id].submission = submission
        updates, is_noted = Updates(goes_on=request.resumption is not None), False
        async for each in submission.events():
            if not is_noted:
                is_noted = True
                await asyncio.to_thread(session.add, _record(request), asked.text)
            for update in updates.of(each.event):
                await self._tell(session.id, update)
        return await submission.result()

    async def _approved(self, run_id: str, question: str) -> bool:
        """Ask the editor what a hook asks about a run; may be awaited on any event loop."""
        waiting = [name for name, each in self._answering.items() if each.run_id == run_id]
        if not waiting:
            return False
        asking = self._sessions[waiting[0]].asking.confirmed(question)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asking, self._loop))

    async def _response(self, session: EditorSession, result: RLMResult) -> acp.PromptResponse:
        """What a run came to, as the end of its prompt."""
        known = None not in (session.cost_usd, result.cost_usd)
        session.cost_usd = (session.cost_usd or 0.0) + (result.cost_usd or 0.0) if known else None
        if result.response:
            await self._tell(session.id, acp.update_agent_message_text(escape_surrogates(result.response)))
        if result.status == "failed":
            raise _refusal(result.error)
        if result.status == "limit":
            await self._tell(session.id, acp.update_agent_thought_text(f"{_words(result.error)}\n\n"))
        await self._tell_usage(session, result)
        stop: Any = "max_turn_requests" if result.limit in _TURN_LIMITS else _STOPS[result.status]
        usage = result.usage
        return acp.PromptResponse(
            stop_reason=stop,
            usage=Usage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                total_tokens=usage.input_tokens + usage.output_tokens,
                cached_read_tokens=usage.cached_tokens,
            ),
        )

    async def _tell_usage(self, session: EditorSession, result: RLMResult) -> None:
        window = None
        label = session.config.model
        if label is not None:
            with suppress(RLMError):
                model = self._engine.parts.backends.model(label, session.config)
                window = model.traits.context_window_tokens
        if window is None:
            return
        cost = None if session.cost_usd is None else Cost(amount=session.cost_usd, currency="USD")
        used = min(window, result.usage.input_tokens + result.usage.output_tokens)
        await self._tell(session.id, UsageUpdate(session_update="usage_update", used=used, size=window, cost=cost))

    async def _tell(self, session_id: str, update: Any) -> None:
        await self._client.session_update(session_id=session_id, update=update)

    async def _taken_up(self, session_id: str, cwd: str, more: Mapping[str, Any]) -> EditorSession:
        """Open a session by what is kept of it."""
        if session_id in self._answering:
            raise ConfigError("this session answers a prompt: cancel that, or wait for it")
        config = (await asyncio.to_thread(_loaded, _folder(cwd), self._overrides)).config
        kept = await asyncio.to_thread(find_session, session_id, log_folder(config.log_dir))
        session = await self._opened(session_id, cwd, more)
        session.records = [Path(each) for each in kept.records]
        session.title = kept.title
        return session

    async def _opened(self, session_id: str, cwd: str, more: Mapping[str, Any]) -> EditorSession:
        folders = tuple(dict.fromkeys(map(_folder, (cwd, *(more.get("additional_directories") or ())))))
        loaded = await asyncio.to_thread(_loaded, folders[0], self._overrides)
        config, warnings = loaded.config, loaded.warnings
        if more.get("mcp_servers"):
            warnings = (*warnings, "the MCP servers of the editor are not used: [mcp_servers] in rlm.toml names others")
        if not config.allowed_paths:
            config = msgspec.structs.replace(config, allowed_paths=tuple(map(str, folders)))
        session = EditorSession(
            id=session_id,
            cwd=folders[0],
            folders=folders,
            config=config,
            overrides=self._overrides,
            asking=Asking(self._client, session_id),
            warnings=warnings,
        )
        self._sessions[session_id] = session
        return session

    def _session(self, session_id: str) -> EditorSession:
        if session_id not in self._sessions:
            raise acp.RequestError(NOT_FOUND, f"no session {session_id[:40]!r} is open: session/load opens one")
        return self._sessions[session_id]


def _loaded(cwd: Path, overrides: Mapping[str, Any]) -> Loaded:
    """The settings of a workspace, whose records go where those of other runs in it do."""
    loaded = Config.load(cwd, overrides=overrides)
    log_dir = str(log_folder(loaded.config.log_dir, cwd))
    return replace(loaded, config=msgspec.structs.replace(loaded.config, log_dir=log_dir))


def _end(answering: Answering) -> None:
    """Cancel the run of a prompt, unless it has ended: nobody waits for it any more."""
    if answering.submission is not None:
        with suppress(ConfigError):
            answering.submission.control(Act(action="cancel", who="the editor"))


def _folder(path: str) -> Path:
    """A folder of the workspace.

    Raises:
        ConfigError: it is not an absolute path, or there is no such folder.
    """
    if not Path(path).is_absolute():
        raise ConfigError(f"{path[:200]!r} is not an absolute path: name the workspace by one")
    if not Path(path).is_dir():
        raise ConfigError(f"there is no folder {path[:200]}")
    return Path(os.path.realpath(path))


def _record(request: Request) -> Path:
    return (log_folder(request.config.log_dir) / f"{request.run_id}.jsonl").absolute()


def _info(name: str, kept: KeptSession) -> SessionInfo:
    updated = datetime.fromtimestamp(kept.updated_at, UTC).isoformat()
    return SessionInfo(session_id=name, cwd=kept.cwd, title=kept.title or None, updated_at=updated)


def _words(error: Exception | None) -> str:
    """What went wrong, in words for a user."""
    if isinstance(error, RLMError):
        return escape_surrogates(str(error))
    return "the run failed" if error is None else f"the run failed: {type(error).__name__}"


def _refusal(error: Exception | None) -> acp.RequestError:
    code = NO_LOGIN if isinstance(error, AuthenticationError) else WRONG if isinstance(error, ConfigError) else FAILED
    return acp.RequestError(code, _words(error))
