"""A sandbox whose first REPL begins with the variables of a session and leaves its own behind as the next state.

What is restored is data and source that came out of a sandbox; it goes back into one and is run nowhere else. The REPLs
of children are opened as ever: a session belongs to the root.
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
from rlm.repl.guest.carrier import EXPORT, IMPORT
from rlm.repl.guest.forms import CannotCarry, from_text, to_text
from rlm.repl.guest.wire import WireError
from rlm.store.database import Database, store_path
from rlm.store.sessions import MAX_STATE_BYTES, CellNote, Definition, Revision, SessionStore, State, state_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rlm.core.config import Config
    from rlm.core.context import Context
    from rlm.core.interfaces import Masker, Repl, Sandbox
    from rlm.core.recorder import Recorder
    from rlm.core.types import ExecResult, ReplSpec, Traits

_CARRY_S = 30.0
"""What giving out or taking in all variables may take."""
_PIECE_BYTES = 4 << 20
"""How much goes into one cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Which session a run goes on with, and where it is kept."""

    store: SessionStore
    name: str
    begins: Revision
    """What its REPL begins with."""
    recorder: Recorder
    masker: Masker | None
    saves: bool = True
    """False for a replay, which changes nothing."""


def session_store(config: Config) -> SessionStore:
    """The sessions of this user, or of the store that is configured.

    Raises:
        ConfigError: there is no place for them.
    """
    return SessionStore(Database(store_path(config.store_path, os.environ)))


def session_begins(config: Config, earlier: Iterable[SessionCarried] = ()) -> Revision | None:
    """The state that a run of this configuration begins with; None where it names no session.

    `earlier` is what the record of the run that it resumes says of its session. Raises:
        ConfigError: the name can't be one, or the state that a resumed run began with can't be had.
        StoreError: the store can't be used.
    """
    began = next((body for body in earlier if body.phase == "loaded"), None)
    if began is not None and began.name != config.session:
        raise ConfigError(f"that run went on with the session {began.name!r}: give that session to resume it")
    if config.session is None:
        return None
    store = session_store(config)
    store.ensure(config.session)
    if began is None:
        return store.load(config.session)
    return Revision.empty() if began.revision == 0 else store.load(config.session, began.revision)


class KeptSandbox:
    """Implements `Sandbox` over another one."""

    def __init__(self, sandbox: Sandbox, keeping: Keeping) -> None:
        self._sandbox = sandbox
        self._keeping = keeping
        self.repl: KeptRepl | None = None
        """The one that the session is in, once it was opened."""

    @property
    def traits(self) -> Traits:
        return self._sandbox.traits

    async def start(self) -> None:
        await self._sandbox.start()

    async def open(self, context: Context, spec: ReplSpec) -> Repl:
        """Open a REPL; the first one gets the variables of the session. Raises:
        REPLError: they can't be put there.
        """
        opened = await self._sandbox.open(context, spec)
        if self.repl is not None:
            return opened
        self.repl = KeptRepl(opened, self._keeping)
        try:
            await self.repl.restore()
        except BaseException:
            await opened.aclose()
            raise
        return self.repl

    async def aclose(self) -> None:
        await self._sandbox.aclose()


class KeptRepl:
    """Implements `Repl` over another one; saves the session when it closes, and whenever it is asked to."""

    def __init__(self, repl: Repl, keeping: Keeping) -> None:
        self._repl = repl
        self._keeping = keeping
        self._latest = keeping.begins
        self._lost = dict(keeping.begins.state.lost)
        self._unrestored: list[Definition] = []
        """What could not run here, and may run elsewhere: it stays in the session."""
        self._has_changed = False
        self._is_emptied = False
        self._is_closed = False

    async def restore(self) -> None:
        """Put the session's variables there. Raises:
        REPLError: the sandbox failed meanwhile.
        """
        state = self._latest.state
        failed: dict[str, str] = {}
        self._unrestored = []
        for piece in _pieces(state.values):
            failed.update(await self._set(piece))
        for definition in state.definitions:
            result = await self._repl.execute(definition.source, _CARRY_S)
            if result.error is not None:
                failed.update((name, f"{result.error.kind}: {result.error.message}") for name in definition.names)
                self._unrestored.append(definition)
        self._record("loaded", self._latest, [name for name in state.names if name not in failed], failed)

    async def execute(self, code: str, timeout_s: float | None = None) -> ExecResult:
        """Run one cell; see `Repl.execute`. A REPL that was killed begins anew with the last state of the session."""
        if self._is_emptied:
            await self.restore()
        try:
            result = await self._repl.execute(code, timeout_s)
        except BaseException:
            self._is_emptied, self._has_changed = True, False
            raise
        self._is_emptied, self._has_changed = result.state_reset, not result.state_reset
        await self._note(code, result.status)
        return result

    def interrupt(self, why: str) -> None:
        self._repl.interrupt(why)

    async def save(self) -> Revision:
        """Keep the variables as the session's next state.

        Raises:
            REPLError: the sandbox does not give them out.
            StoreError: they can't be kept; the state before is unharmed.
        """
        keeping = self._keeping
        result = await self._repl.execute(f"FINAL({EXPORT}({MAX_STATE_BYTES}))", _CARRY_S)
        if result.final is None:
            why = "it gave none" if result.error is None else f"{result.error.kind}: {result.error.message}"
            raise REPLError(f"the variables of session {keeping.name!r} can't be had: {why}")
        exported = result.final.value
        self._latest = await asyncio.to_thread(lambda: self._saved(state_of(exported)))
        self._has_changed = False
        self._record("saved", self._latest, self._latest.state.names, self._latest.state.lost)
        return self._latest

    async def aclose(self) -> None:
        """Save the session if cells have run, then kill the sandbox; a session that can't be saved is warned of."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._keeping.saves and self._has_changed:
                await self.save()
        except (REPLError, StoreError) as error:
            self._warn(f"session {self._keeping.name!r} was not saved: {error}")
        finally:
            await self._repl.aclose()

    def _saved(self, state: State) -> Revision:
        keeping, there = self._keeping, frozenset(state.names)
        waiting = [each for each in self._unrestored if not there.intersection(each.names)]
        state = msgspec.structs.replace(state, definitions=[*waiting, *state.definitions])
        masked = masked_state(state, keeping.masker)
        return keeping.store.save(keeping.name, masked, based_on=self._latest.number, run=keeping.recorder.run_id)

    async def _set(self, values: Mapping[str, str]) -> dict[str, str]:
        result = await self._repl.execute(f"FINAL({IMPORT}({dict(values)!r}))", _CARRY_S)
        if result.final is None or not isinstance(result.final.value, dict):
            why = "the sandbox did not take it" if result.error is None else result.error.message
            return dict.fromkeys(values, why)
        return {str(name): str(why) for name, why in result.final.value.items()}

    async def _note(self, code: str, status: str) -> None:
        keeping = self._keeping
        if not keeping.saves:
            return
        text = code if keeping.masker is None else keeping.masker.mask(code)
        cell = CellNote(at=time.time(), run=keeping.recorder.run_id, status=status, code=text)
        try:
            await asyncio.to_thread(keeping.store.add_cell, keeping.name, cell)
        except StoreError as error:
            self._warn(str(error))

    def _record(self, phase: str, revision: Revision, names: list[str], lost: Mapping[str, str]) -> None:
        recorder = self._keeping.recorder
        name = self._keeping.name
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
        recorder = self._keeping.recorder
        recorder.record(recorder.root, Warned(message=message))


def masked_state(state: State, masker: Masker | None) -> State:
    """The state with secrets masked, and the names in which there were any."""
    if masker is None:
        return state
    values, lost, masked = dict(state.values), dict(state.lost), []
    for name, text in state.values.items():
        try:
            values[name] = to_text(masker.mask_value({name: from_text(text)})[name])
        except (CannotCarry, WireError) as error:
            lost[name] = str(error)
            del values[name]
        else:
            masked += [name] if values[name] != text else []
    definitions = [Definition(names=each.names, source=masker.mask(each.source)) for each in state.definitions]
    for before, after in zip(state.definitions, definitions, strict=True):
        masked += before.names if before.source != after.source else []
    return msgspec.structs.replace(state, values=values, lost=lost, definitions=definitions, masked=masked)


def values_of(state: State) -> dict[str, Any]:
    """The values of a state for Python on the host: data only, no code.

    Raises:
        StoreError: the store was tampered with.
    """
    try:
        return {name: from_text(text) for name, text in state.values.items()}
    except WireError as error:
        raise StoreError(f"the state can't be read: {error}") from error


def _pieces(values: Mapping[str, str]) -> Iterator[dict[str, str]]:
    piece: dict[str, str] = {}
    size = 0
    for name, text in values.items():
        if piece and size + len(text) > _PIECE_BYTES:
            yield piece
            piece, size = {}, 0
        piece[name] = text
        size += len(text)
    if piece:
        yield piece


def _listed(lost: Mapping[str, str]) -> str:
    some: Iterable[str] = (f"{name} ({why})" for name, why in list(lost.items())[:10])
    more = f" and {len(lost) - 10} more" if len(lost) > 10 else ""
    return ", ".join(some) + more
