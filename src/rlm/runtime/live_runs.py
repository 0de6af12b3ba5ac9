"""The runs in progress of one runtime: how each stands, by its id, and a socket on which this user's own `rlm ctl` asks
for that and acts on them."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct

from rlm.core.exceptions import ConfigError
from rlm.runtime.control import Act, RunStatus  # noqa: TC001 (msgspec reads them at run time)
from rlm.runtime.control_socket import ControlSocket, socket_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAST = "last"


class ControlQuestion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is asked over the socket: how every run stands or, with `act`, to do something with one."""

    run: str = ""
    """The id of a run; empty: all."""
    act: Act | None = None


class ControlAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to what was asked."""

    runs: list[RunStatus] = []
    """The runs in progress that were asked about, as they stand, the oldest first."""
    error: str = ""
    """Why it was refused; else empty."""
    is_unknown: bool = False
    """It was refused, for this process has no such run."""


class Steered(Protocol):
    """What may be looked at and acted on while it goes on: a run, or many that belong together."""

    stop: Callable[[], object] | None
    """Cancels it; None where it can't be cancelled from here."""

    @property
    def id(self) -> str: ...

    def act(self, act: Act) -> None:
        """Do something with it, and record it.

        Raises:
            ConfigError: it can't be done; says why.
        """
        ...

    def act_if_possible(self, act: Act) -> None:
        """Do something that was asked before it had begun; what can't be done is a warning in its record."""
        ...

    def status(self) -> RunStatus:
        """How it stands."""
        ...


class LiveRuns:
    """The runs in progress, by their ids; used on one event loop only."""

    def __init__(self) -> None:
        self._runs: dict[str, Steered] = {}
        self._held: dict[str, list[Act]] = {}
        self._socket: ControlSocket | None = None
        self._is_tried = False

    def __iter__(self) -> Iterator[Steered]:
        return iter(self._runs.values())

    async def listen(self) -> None:
        """Open the socket, at the first call; where there is no place for it, runs go on without."""
        if self._is_tried:
            return
        self._is_tried = True
        folder = socket_folder(os.environ)
        if folder is not None:
            with suppress(OSError):
                self._socket = await ControlSocket.open(folder, self.answer)

    @contextmanager
    def listed(self, control: Steered, stop: Callable[[], object] | None = None) -> Iterator[None]:
        """Have a run be found for as long as this context lasts; `stop` cancels it."""
        control.stop = stop
        self._runs[control.id] = control
        for act in self._held.pop(control.id, []):
            control.act_if_possible(act)
        try:
            yield
        finally:
            del self._runs[control.id]

    def hold(self, run_id: str, act: Act) -> None:
        """Do something with a run as soon as it is in progress."""
        self._held.setdefault(run_id, []).append(act)

    def drop(self, run_id: str) -> None:
        """Forget what was to be done with a run."""
        self._held.pop(run_id, None)

    def get(self, run_id: str) -> Steered | None:
        """The run in progress of that id."""
        return self._runs.get(run_id)

    def answer(self, line: bytes) -> bytes:
        """The answer to one line that came over the socket, as one line."""
        return msgspec.json.encode(self._answered(line)) + b"\n"

    async def aclose(self) -> None:
        """Close the socket; idempotent."""
        opened, self._socket = self._socket, None
        if opened is not None:
            await opened.aclose()

    def _answered(self, line: bytes) -> ControlAnswer:
        try:
            asked = msgspec.json.decode(line, type=ControlQuestion)
            if not asked.run:
                return ControlAnswer(runs=[run.status() for run in self])
            if (run := self.get(asked.run)) is None:
                return ControlAnswer(error=f"no run {asked.run} is in progress here", is_unknown=True)
            if asked.act is not None:
                run.act(asked.act)
            return ControlAnswer(runs=[run.status()])
        except (ConfigError, msgspec.DecodeError) as error:
            return ControlAnswer(error=str(error))
