"""Work that goes on over days: a REPL kept by name, with completions on it, and state that Python may keep too.

The truth is the saved state; the REPL that is open between two calls is a copy of it that saves starting one.
"""

from __future__ import annotations

import keyword
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.config import Config
from rlm.core.exceptions import ConfigError
from rlm.repl.guest.carry.forms import CannotCarry, to_text
from rlm.runtime.rlm import RLM
from rlm.secrets import masker
from rlm.sessions.sandbox import session_store
from rlm.sessions.store import MAX_STATE_BYTES, State
from rlm.sessions.values import masked_state, values_of
from rlm.store.names import session_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.outcome import RLMResult
    from rlm.core.types import ExecResult
    from rlm.runtime.open_repl import OpenRepl
    from rlm.sessions.store import Revision


_GIVEN = frozenset({"context", "FINAL", "FINAL_VAR", "SHOW_VARS", "SubcallError"})
"""Names that every cell is given anew."""


class Session:
    """A session by its name, made if it doesn't exist. Cheap to construct: the REPL is opened by the first cell."""

    def __init__(
        self, name: str, description: str = "", *, rlm: RLM | None = None, config: Config | None = None
    ) -> None:
        """`rlm` runs its cells and completions; by default an RLM of its own does, from `config` or the files.

        Raises:
            ConfigError: the name is not allowed, or a configuration file is wrong.
            StoreError: sessions can't be kept.
        """
        self.name = session_name(name)
        self.config = rlm.config if rlm is not None else Config.load().config if config is None else config
        self._own: RLM | None = None
        self._rlm = rlm
        self._repl: OpenRepl | None = None
        self._store = session_store(self.config)
        masking = masker(self.config.mask)
        about = description if masking is None else masking.mask(description)
        self.description = self._store.ensure(self.name, about).description

    def save_state(self, values: Mapping[str, Any] | None = None) -> Revision:
        """Save the variables of the REPL or, if given, `values` beside what is saved; returns all that is saved then.

        Secrets are masked, and `state.masked` names where.
        Raises:
            ConfigError: a name is not an identifier, or a value would not come back as it is; nothing is saved.
            StoreError: the state can't be saved; the earlier one is unharmed.
        """
        if values is None:
            return self._opened().save()
        texts = {_variable(name): _text(name, value) for name, value in values.items()}
        self._settle()
        given = masked_state(State(values=texts), masker(self.config.mask))
        return self._store.change(self.name, lambda state: _overlaid(state, given))

    def load_state(self, revision: int | None = None) -> dict[str, Any]:
        """The values that were saved last, or as that revision, by name; functions and classes come back only in cells.

        Raises:
            ConfigError: that revision is no longer kept.
            StoreError: the state can't be read.
        """
        return values_of(self._store.load(self.name, revision).state)

    def run(self, code: str, *, timeout_s: float | None = None) -> ExecResult:
        """Run one cell in the session's REPL. An error in the code is in the result, and secrets are masked.

        Raises:
            ConfigError, SandboxUnavailableError, RecordError, StoreError: as `RLM.open_repl`.
            REPLError: the sandbox failed.
        """
        return self._opened().run(code, timeout_s=timeout_s)

    def completion(self, prompt: str, context: Any = None, **options: Any) -> RLMResult:
        """`RLM.completion` that begins with the session's variables and saves what it leaves behind."""
        self._settle()
        return self._runner().completion(prompt, context, session=self.name, **options)

    def close(self) -> None:
        """Save what the REPL holds, and end it; idempotent."""
        self._settle()
        own, self._own = self._own, None
        if own is not None:
            own.close()

    def __repr__(self) -> str:
        return f"<session {self.name}>"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _runner(self) -> RLM:
        if self._rlm is not None:
            return self._rlm
        if self._own is None:
            self._own = RLM(config=self.config)
        return self._own

    def _opened(self) -> OpenRepl:
        if self._repl is None:
            self._repl = self._runner().open_repl(session=self.name)
        return self._repl

    def _settle(self) -> None:
        """Save and close the open REPL: what comes next changes the session beside it."""
        repl, self._repl = self._repl, None
        if repl is not None:
            repl.close()


def _variable(name: object) -> str:
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii() or name.startswith("__"):
        raise ConfigError(f"{ascii(name)[:80]} can't name a variable of a session: use a Python identifier in ASCII")
    if keyword.iskeyword(name) or name in _GIVEN:
        raise ConfigError(f"{name!r} can't name a variable of a session: it has a meaning of its own in cells")
    return name


def _text(name: str, value: Any) -> str:
    try:
        return to_text(value, MAX_STATE_BYTES)
    except (CannotCarry, RecursionError) as error:
        raise ConfigError(f"{name!r} can't be kept in a session: {error or 'it is nested too deeply'}") from error


def _overlaid(state: State, given: State) -> State:
    """`state` with the variables of `given` in the place of those of the same names."""
    names = given.values.keys() | given.lost.keys()
    definitions = [each for each in state.definitions if not names.issuperset(each.names)]
    return msgspec.structs.replace(
        state,
        values={name: text for name, text in state.values.items() if name not in names} | given.values,
        lost={name: why for name, why in state.lost.items() if name not in names} | given.lost,
        masked=[name for name in state.masked if name not in names] + given.masked,
        definitions=definitions,
    )
