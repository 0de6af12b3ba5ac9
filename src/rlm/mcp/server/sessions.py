"""The sessions of all clients: who owns which, how many there may be, and when one that nobody uses is closed."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from rlm.backends.host import LABEL, HostBackend
from rlm.core.exceptions import ToolError
from rlm.mcp.server.clients import ANY_HTTP, STDIO
from rlm.mcp.server.session import HostSession, Setup
from rlm.runtime.models import BackendPool, RunModels

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.runtime.wiring import Parts

DEFAULT = "main"
UNGUESSED = "s-"
"""The beginning of the names of sessions of clients that can't be told apart."""
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_REMEMBERED = 200
_HOST_OUTPUT_TOKENS = 2_048
"""The tokens that are reserved for one answer of the host: few, since many queries wait at one time."""
_HOST_CONCURRENCY = 1_000
_LEFT_BEHIND_S = 60.0
"""How long a session whose name a client was given stays at least, since its last use."""
_LEFT_WAITING_S = 600.0
"""The same where its cell waits for answers."""
_GAVE_WAY = "another client needed its place, and it was unused the longest; give a session_id of your own to keep one"


class Sessions:
    """Every session, by its owner and its id."""

    def __init__(self, parts: Parts, config: Config) -> None:
        self._parts = parts
        self._config = config
        self._open: dict[tuple[str, str], HostSession] = {}
        self._closed: OrderedDict[tuple[str, str], str] = OrderedDict()
        """Why sessions were closed that their owner may still think open."""

    @property
    def asks_host(self) -> bool:
        """Whether the host model answers sub-calls; else a configured one does."""
        return self._config.model in (None, LABEL)

    def of(self, owner: str) -> list[HostSession]:
        """The sessions of one client, the oldest first."""
        return [session for (owned_by, _), session in self._open.items() if owned_by == owner]

    def shown_to(self, owner: str) -> list[HostSession]:
        """The sessions that a client may know of; of clients that can't be told apart, those whose name they chose."""
        own = self.of(owner)
        return own if owner != ANY_HTTP else [each for each in own if not each.id.startswith(UNGUESSED)]

    def find(self, owner: str, session_id: str) -> HostSession:
        """An open session of that client.

        Raises:
            ToolError: the client has no session of that name; says which it has, or why it was closed.
        """
        session = self._open.get((owner, session_id))
        if session is not None:
            return session
        if (why := self._closed.pop((owner, session_id), None)) is not None:
            raise ToolError(f"session {session_id!r} was closed: {why}. Its variables are gone; start it again.")
        own = ", ".join(repr(each.id) for each in self.shown_to(owner))
        names = own or "none yet: execute_python and load_context open one"
        raise ToolError(f"you have no session {session_id[:64]!r}; yours: {names}")

    async def ensure(self, owner: str, session_id: str | None) -> HostSession:
        """That session, opened if need be; with None the client's default. Clients that can't be told apart get a new
        one with a name that nobody guesses; one by a name of their own choice is everyone's who chooses it. Where there
        are too many, one that a client was given and left behind is closed.

        Raises:
            ToolError: it was closed and the client has not been told, its name is invalid, or there are too many.
        """
        session_id = session_id or (f"{UNGUESSED}{os.urandom(8).hex()}" if owner == ANY_HTTP else DEFAULT)
        key = (owner, session_id)
        if key in self._open:
            return self._open[key]
        if key in self._closed:
            return self.find(owner, session_id)
        if not _ID.fullmatch(session_id):
            raise ToolError("a session_id is 1 to 64 letters, digits, '-', '_' or '.'")
        left_behind = self._make_room(owner)
        session = self._open[key] = HostSession(session_id, self._setup(keeps=key == (STDIO, DEFAULT)))
        if left_behind is not None:  # closed to its end, though this call may be given up
            await asyncio.shield(left_behind.aclose(_GAVE_WAY))
        return session

    async def destroy(self, owner: str, session_id: str) -> None:
        """Close a session with whatever runs in it. Raises:
        ToolError: the client has no session of that name.
        """
        session = self.find(owner, session_id)
        del self._open[owner, session_id]
        await session.aclose("destroy_session was called")

    async def drop(self, owner: str) -> None:
        """Close all sessions of a client that has gone."""
        gone = [self._open.pop((owner, session.id)) for session in self.of(owner)]
        await asyncio.gather(*(session.aclose("its client has gone") for session in gone))

    async def close_idle(self) -> None:
        """Close the sessions that nobody has used for their time to live."""
        ttl_s, now = self._config.mcp.session_ttl_s, time.monotonic()
        for key, session in list(self._open.items()):
            if session.is_idle and now - session.used_at > ttl_s:
                why = f"nobody used it for {ttl_s:g} s (mcp.session_ttl_s)"
                del self._open[key]
                self._remember(key, why)
                await session.aclose(why)

    async def watch(self) -> None:
        """Call `close_idle` now and then, forever."""
        while True:
            await asyncio.sleep(min(30.0, self._config.mcp.session_ttl_s / 4))
            await self.close_idle()

    async def aclose(self) -> None:
        """Close every session."""
        sessions = list(self._open.values())
        self._open.clear()
        await asyncio.gather(*(session.aclose("the server ended") for session in sessions))

    def _remember(self, key: tuple[str, str], why: str) -> None:
        self._closed[key] = why
        while len(self._closed) > _REMEMBERED:
            self._closed.popitem(last=False)

    def _make_room(self, owner: str) -> HostSession | None:
        """Check that there may be one session more; returns one that has to be closed for it. Raises:
        ToolError: there may not.
        """
        used = {key: session for key, session in self._open.items() if session.repl is not None or not session.is_idle}
        names = [name for owned_by, name in used if owned_by == owner]
        cap = self._config.mcp.max_sessions
        if len(names) >= cap and owner != ANY_HTTP:
            said = f"you have {len(names)} sessions, the most there may be ({', '.join(names)})"
            raise ToolError(f"{said}: destroy_session one first")
        if len(used) < max(cap, self._config.max_sandboxes):
            return None
        if not (left_behind := [key for key, session in used.items() if _gives_way(key, session)]):
            raise ToolError("the server has as many sessions as it may (max_sandboxes); try again later")
        longest = min(left_behind, key=lambda key: used[key].used_at)
        self._remember(longest, _GAVE_WAY)
        return self._open.pop(longest)

    def _setup(self, *, keeps: bool) -> Setup:
        """What a new session is made with; with `keeps` it is the one whose REPL is kept under the setting `session`.

        Only one session can be, and none of a client by HTTP.
        """
        own = self._config if keeps else msgspec.structs.replace(self._config, session=None)
        if not self.asks_host:
            models = RunModels.choose(own, self._parts.backends)
            return Setup(parts=self._parts, config=own, models=models, host=None)
        host, config = HostBackend(own.mcp.answer_timeout_s), _host_config(own)
        models = RunModels.choose(config, BackendPool(host))
        return Setup(parts=self._parts, config=config, models=models, host=host)


def _gives_way(key: tuple[str, str], session: HostSession) -> bool:
    """Whether a session may be closed for another: its client, which didn't name it, has probably forgotten it."""
    owner, name = key
    if owner != ANY_HTTP or not name.startswith(UNGUESSED) or session.is_working:
        return False
    return time.monotonic() - session.used_at > (_LEFT_BEHIND_S if session.is_idle else _LEFT_WAITING_S)


def _host_config(config: Config) -> Config:
    """The configuration with the host as its only model: nothing is billed here, and all queries may wait at once."""
    budget = msgspec.structs.replace(
        config.budget,
        cost_budget_usd=None,
        timeout_s=None,
        max_concurrency=max(_HOST_CONCURRENCY, config.budget.max_concurrency),
    )
    return msgspec.structs.replace(
        config,
        model=LABEL,
        sub_model=None,
        allowed_models=(),
        dialect="auto",
        budget=budget,
        cache=False,
        max_output_tokens=min(_HOST_OUTPUT_TOKENS, config.max_output_tokens),
    )
