"""A sandbox whose first REPL starts with the variables of a session and saves its own as the next state.

What is restored is data and source that came out of a sandbox; it goes back into one and is run nowhere else. The REPLs
of children have no session: it belongs to the root.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.events import SessionCarried, Warned
from rlm.core.exceptions import ConfigError, REPLError, StoreError
from rlm.core.off_loop import off_loop_if_large
from rlm.repl.guest.carry.carrier import EXPORT, PIECE, taking
from rlm.sessions.store import (
    MAX_STATE_BYTES,
    CellNote,
    Revision,
    SessionStore,
    State,
    add_piece,
    state_of,
)
from rlm.sessions.values import masked_state
from rlm.store.database import Database, store_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.interfaces import Masker, Repl, Sandbox
    from rlm.core.record.recorder import Recorder
    from rlm.core.types import ExecResult, ReplSpec, Traits

_CARRY_S = 60.0
"""How long exporting or importing all variables may take."""
_MAX_PIECES = 4_096
_WHY_CHARS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSession:
    """The session that a run goes on with, where it is kept, and what is told of it."""

    store: SessionStore
    name: str
    begins: Revision
    """The revision that the REPL starts with."""
    recorder: Recorder
    masker: Masker | None
    resumes: str = ""
    """The id of the run that this one resumes, which may have saved the session as it broke off; empty for none."""
    saves: bool = True
    """Whether the session is saved; False for a replay, which changes nothing."""


def session_store(config: Config) -> SessionStore:
    """The sessions of the configured store, or of this user.

    Raises:
        ConfigError: neither the configuration nor the environment says where they are kept.
    """
    return SessionStore(Database(store_path(config.store_path, os.environ)))


def session_begins(config: Config, earlier: Iterable[SessionCarried] = ()) -> Revision | None:
    """The state that a run of this configuration starts with; None without a session.

    `earlier` is what the record of a resumed run says about its session.

    Raises:
        ConfigError: the name can't name a session, or the state that a resumed run started with is gone.
        StoreError: the store can't be used.
    """
    began = next((body for body in earlier if body.phase == "loaded"), None)
    if began is not None and began.name != config.session:
        raise ConfigError(f"that run used the session {began.name!r}: give the same session to resume it")
    if config.session is None:
        return None
    store = session_store(config)
    store.ensure(config.session)
    if began is None:
        return store.load(config.session)
    return Revision.empty() if began.revision == 0 else store.load(config.session, began.revision)


def empty_session(config: Config) -> None:
    """Save the session of this configuration, if any, without variables; what it held stays as a revision.

    Raises:
        StoreError: the store can't be used.
    """
    if config.session is not None:
        store = session_store(config)
        store.ensure(config.session)
        store.save(config.session, State())


class SessionSandbox:
    """Implements `Sandbox` over another sandbox, whose first REPL is that of a session."""

    def __init__(self, sandbox: Sandbox, session: RunSession) -> None:
        self._sandbox = sandbox
        self._session = session
        self.repl: SessionRepl | None = None
        """The REPL that holds the session, once it is open."""

    @property
    def traits(self) -> Traits:
        return self._sandbox.traits

    async def start(self) -> None:
        await self._sandbox.start()

    async def open(self, context: Context, spec: ReplSpec) -> Repl:
        """Open a REPL; the first one gets the variables of the session.

        Raises:
            REPLError: the variables can't be set there.
        """
        opened = await self._sandbox.open(context, spec)
        if self.repl is not None:
            return opened
        self.repl = SessionRepl(opened, self._session)
        try:
            await self.repl.restore()
        except BaseException:
            await opened.aclose()
            raise
        return self.repl

    async def aclose(self) -> None:
        await self._sandbox.aclose()


class SessionRepl:
    """Implements `Repl` over another REPL; saves the session when it closes, and whenever asked to."""

    def __init__(self, repl: Repl, session: RunSession) -> None:
        self._repl = repl
        self._session = session
        self._latest = session.begins
        self._lost = dict(session.begins.state.lost)
        self._unrestored = State()
        """What couldn't be set or run in this sandbox, but may be in another: it stays in the session."""
        self._has_changed = False
        self._is_emptied = False
        self._is_closed = False

    async def restore(self) -> None:
        """Set the session's variables in the REPL.

        Raises:
            REPLError: the sandbox failed meanwhile.
        """
        state = self._latest.state
        until = time.monotonic() + _CARRY_S
        failed = await self._set(state.values, until)
        values = {name: text for name, text in state.values.items() if name in failed}
        definitions = []
        for definition in state.definitions:
            result = await self._carry(definition.source, until)
            if result.error is not None:
                why = f"{result.error.kind}: {result.error.message}"[:_WHY_CHARS]
                failed.update(dict.fromkeys(definition.names, why))
                definitions.append(definition)
        self._unrestored = State(values=values, definitions=definitions)
        self._record("loaded", self._latest, [name for name in state.names if name not in failed], failed)

    async def execute(self, code: str, timeout_s: float | None = None) -> ExecResult:
        """Run one cell; see `Repl.execute`. A REPL that was killed starts again with the last state of the session.

        A cell that is cancelled is interrupted, not killed: what earlier cells set belongs to the session.
        """
        if self._is_emptied:
            await self.restore()
        self._is_emptied, self._has_changed = True, False  # unless the cell runs to its end
        working = asyncio.ensure_future(self._repl.execute(code, timeout_s))
        try:
            result = await asyncio.shield(working)
        except asyncio.CancelledError:
            self._repl.interrupt("the run was ended")
            await asyncio.wait({working})
            if not working.cancelled() and working.exception() is None:
                self._ran(working.result())
            raise
        self._ran(result)
        await self._note(code, result.status)
        return result

    def interrupt(self, why: str) -> None:
        self._repl.interrupt(why)

    async def save(self) -> Revision:
        """Save the variables as the session's next state.

        Raises:
            REPLError: the sandbox doesn't export them.
            StoreError: they can't be saved; the last state is unharmed.
        """
        exported = await self._exported()
        self._latest = await asyncio.to_thread(lambda: self._saved(state_of(exported)))
        self._has_changed = False
        self._record("saved", self._latest, self._latest.state.names, self._latest.state.lost)
        return self._latest

    async def aclose(self) -> None:
        """Save the session if cells have run, then kill the sandbox; if the session can't be saved, warn."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._session.saves and self._has_changed:
                await self.save()
        except (REPLError, StoreError) as error:
            self._warn(f"session {self._session.name!r} was not saved: {error}")
        finally:
            await self._repl.aclose()

    def _saved(self, state: State) -> Revision:
        session, there = self._session, frozenset(state.names)
        definitions = [each for each in self._unrestored.definitions if not there.intersection(each.names)]
        values = {name: text for name, text in self._unrestored.values.items() if name not in there}
        state = msgspec.structs.replace(
            state, values=values | state.values, definitions=[*definitions, *state.definitions]
        )
        masked = masked_state(state, session.masker)
        return session.store.save(
            session.name,
            masked,
            based_on=self._latest.number,
            run=session.recorder.run_id,
            resumes=session.resumes,
        )

    def _ran(self, result: ExecResult) -> None:
        self._is_emptied, self._has_changed = result.state_reset, not result.state_reset

    async def _exported(self) -> dict[str, Any]:
        """The variables as the guest exports them; only their size is checked."""
        until = time.monotonic() + _CARRY_S
        given = await self._given(f"{EXPORT}({MAX_STATE_BYTES})", until)
        count = given.get("pieces") if isinstance(given, dict) else None
        if not isinstance(count, int) or not 0 <= count <= _MAX_PIECES:
            raise StoreError("the sandbox exported no state")
        texts: dict[str, list[str]] = {}
        for number in range(count):
            add_piece(texts, await self._given(f"{PIECE}({number})", until))
        return {**given, "values": {name: "".join(parts) for name, parts in texts.items()}}

    async def _given(self, call: str, until: float) -> Any:
        result = await self._carry(f"FINAL({call})", until)
        if result.final is None:
            why = (
                "the sandbox exported none" if result.error is None else f"{result.error.kind}: {result.error.message}"
            )
            raise REPLError(f"the variables of session {self._session.name!r} can't be read: {why}")
        return result.final.value

    async def _set(self, values: Mapping[str, str], until: float) -> dict[str, str]:
        """Set variables; returns those that could not be set, each with the reason."""
        if not values:
            return {}
        for cell in taking(values):
            result = await self._carry(cell, until)
            if result.error is not None:
                return dict.fromkeys(values, result.error.message[:_WHY_CHARS])
        refused = None if result.final is None else result.final.value
        if not isinstance(refused, dict):
            return dict.fromkeys(values, "the sandbox did not accept it")
        return {name: str(why)[:_WHY_CHARS] for name, why in refused.items() if name in values}

    async def _carry(self, code: str, until: float) -> ExecResult:
        """Run a cell of our own.

        Raises:
            REPLError: the sandbox was killed, now or since the cell before, and the session's variables with it.
        """
        result = await self._repl.execute(code, _left(until))
        if result.state_reset:
            self._is_emptied, self._has_changed = True, False
            why = f" ({result.error.message[:_WHY_CHARS]})" if result.status == "killed" and result.error else ""
            raise REPLError(f"the variables of session {self._session.name!r} are gone: the sandbox was killed{why}")
        return result

    async def _note(self, code: str, status: str) -> None:
        session = self._session
        if not session.saves:
            return
        text = code if session.masker is None else await off_loop_if_large(session.masker.mask, code)
        cell = CellNote(at=time.time(), run=session.recorder.run_id, status=status, code=text)
        try:
            await asyncio.to_thread(session.store.add_cell, session.name, cell)
        except StoreError as error:
            self._warn(str(error))

    def _record(self, phase: str, revision: Revision, names: list[str], lost: Mapping[str, str]) -> None:
        recorder = self._session.recorder
        name = self._session.name
        body = SessionCarried(
            name=name,
            phase=phase,
            revision=revision.number,
            variables=names,
            lost=dict(lost),
            masked=revision.state.masked if phase == "saved" else [],
        )
        recorder.record(recorder.root, body)
        if lost and phase == "loaded":
            self._warn(f"session {name!r}: not restored: {_listed(lost)}")
        if new := {each: why for each, why in lost.items() if each not in self._lost and phase == "saved"}:
            self._warn(f"session {name!r}: not kept: {_listed(new)}")
        self._lost.update(lost)
        if revision.overtaken:
            self._warn(
                f"session {name!r} was saved by another run meanwhile: revision {revision.number} is this run's, "
                "and the other one stays as a revision before it"
            )

    def _warn(self, message: str) -> None:
        recorder = self._session.recorder
        recorder.record(recorder.root, Warned(message=message))


def _left(until: float) -> float:
    """The seconds left.

    Raises:
        REPLError: the time is up.
    """
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise REPLError(f"carrying the variables of the session took more than {_CARRY_S:g} s")
    return left_s


def _listed(lost: Mapping[str, str]) -> str:
    some: Iterable[str] = (f"{name} ({why})" for name, why in list(lost.items())[:10])
    more = f" and {len(lost) - 10} more" if len(lost) > 10 else ""
    return ", ".join(some) + more
