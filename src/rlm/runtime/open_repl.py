"""A REPL without a model, as Python drives it: from any thread, one cell at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.runtime.loop_thread import waited

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.core.types import ExecResult
    from rlm.runtime.interactive import Interactive
    from rlm.runtime.loop_thread import LoopThread
    from rlm.sessions.store import Revision


class OpenRepl:
    """A REPL that is open; may be used from any thread, one cell at a time. Close it, or use it in a `with`."""

    def __init__(self, owner: object, loop: LoopThread, interactive: Interactive) -> None:
        self._owner = owner  # an RLM that nobody holds closes its REPLs
        self._loop = loop
        self._interactive = interactive

    @property
    def path(self) -> Path:
        """The path of the record."""
        return self._interactive.path

    def run(self, code: str, *, timeout_s: float | None = None) -> ExecResult:
        """Run one cell; Ctrl-C stops it and keeps the variables.

        Secrets in the result are masked. An error in the code is in it. Raises:
            REPLError: the sandbox failed, or the REPL is closed.
            RecordError: the record can't be written, so nothing may run.
        """
        pending = self._loop.submit(self._interactive.execute_masked(code, timeout_s))
        try:
            return waited(pending)
        except KeyboardInterrupt:
            self._loop.call_soon(lambda: self._interactive.interrupt("interrupted by the user"))
            waited(pending)
            raise

    def save(self) -> Revision:
        """Keep the variables as the next state of the session.

        Raises:
            REPLError: there is no session, or the sandbox does not give its variables out.
            StoreError: they can't be kept; the state before is unharmed.
        """
        return waited(self._loop.submit(self._interactive.save()))

    def close(self) -> None:
        """Save the session, if it has one and cells have run, and end the REPL; idempotent."""
        waited(self._loop.submit(self._interactive.aclose()))

    def __enter__(self) -> OpenRepl:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
