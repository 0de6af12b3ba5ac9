"""What an engine is: it takes requests, and gives for each a submission to watch, steer and await. The contract stands
here, once; `rlm.testing.EngineSuite` proves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rlm.core.config import Config
    from rlm.core.events import Event
    from rlm.core.outcome import RLMResult
    from rlm.core.types import Status
    from rlm.runtime.control import Act, RunStatus
    from rlm.runtime.request import Request

State: TypeAlias = "Literal['queued', 'running', 'paused', 'refused'] | Status"
"""How a submission stands: refused is a request that no run could be made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """An event of a submission, with its place among all of them."""

    number: int
    """From 0, without gaps. A submission that was cut off and resumed goes on counting."""
    event: Event


class Submission(Protocol):
    """A request that an engine has taken."""

    @property
    def id(self) -> str:
        """Its id, by which its first run is known too: 32 hex digits."""
        ...

    @property
    def state(self) -> State: ...

    @property
    def status(self) -> RunStatus | None:
        """How its run stands; None while it waits for a place, once it has ended, and where the engine can't tell."""
        ...

    @property
    def records(self) -> tuple[Path, ...]:
        """The records of its runs, the first first: more than one where it was cut off and resumed."""
        ...

    def events(self, first: int = 0) -> AsyncIterator[Numbered]:
        """Its events from the number `first` on: those on record, then each as it happens, until it has ended."""
        ...

    def control(self, act: Act) -> None:
        """Act on its run; while it waits for a place, what is asked holds from its beginning.

        Raises:
            ConfigError: it can't be done, or it has ended.
        """
        ...

    async def result(self) -> RLMResult:
        """What it came to, once it has ended; cancelling whoever waits does not cancel it.

        Raises:
            RLMError: no run could be made of the request.
        """
        ...


class Engine(Protocol):
    """Makes runs of requests, so many at one time; the others wait, so many at most."""

    async def prepare(self, config: Config) -> None:
        """Check that runs can be made under these settings, and make ready what they need.

        Raises:
            RLMError: there is no model or no sandbox, or it costs what can't be capped.
        """
        ...

    async def submit(self, request: Request) -> Submission:
        """Take a request.

        Raises:
            QueueFullError: too many wait already.
        """
        ...

    def get(self, submission_id: str) -> Submission | None:
        """The submission of that id, as long as it has not ended."""
        ...

    async def aclose(self) -> None:
        """Cancel what is in progress, which lands, and release everything; idempotent."""
        ...
