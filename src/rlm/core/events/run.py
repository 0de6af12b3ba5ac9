"""Events of a run as a whole: how it begins, its sandbox and session, its limits and warnings."""

from __future__ import annotations

from typing import ClassVar

from rlm.core.events.body import Body, Keyed
from rlm.core.types import Json  # noqa: TC001 (msgspec reads them at run time)


class RunStart(Body, frozen=True):
    """The first event of a run: what it was given and under which settings."""

    TYPE: ClassVar[str] = "run.start"

    version: int
    """The version of the event format."""
    rlm_version: str
    model: str
    sub_model: str
    environment: str
    """The sandbox; where the configuration says `auto`, the one that was chosen."""
    budget: dict[str, Json]
    """Every cap by its name; null is no cap."""
    config: dict[str, Json] = {}
    """Other settings that shape the run; never a secret."""
    resumed_from: str | None = None
    """The run whose record this one serves from."""
    forked_from: str | None = None
    forked_at: int = 0
    """The last turn taken from `forked_from`."""
    addition: str = ""
    """What the user says after that turn: a hint, or another question."""
    salt: str | None = None
    """Of the keys of this run's events; None where texts are masked: it is in `<run_id>.exact` then."""


class SandboxReady(Body, frozen=True):
    """The sandbox of the run can open REPLs."""

    TYPE: ClassVar[str] = "sandbox"
    environment: str
    layers: list[str] = []
    """The layers of confinement in force."""
    chosen: bool = False
    """The configuration says `auto`: this is the first that works here."""
    passed_over: dict[str, str] = {}
    """With `chosen`: those that were tried before, and why they don't work here."""


class SessionCarried(Body, frozen=True):
    """The variables of a session came into the run's REPL, or were kept of it."""

    TYPE: ClassVar[str] = "session"
    name: str
    phase: str
    """loaded or saved."""
    revision: int
    variables: list[str] = []
    lost: dict[str, str] = {}
    """Variables that could not be carried, and why."""
    masked: list[str] = []


class Limit(Keyed, frozen=True, kw_only=True):
    """A cap is near or reached; with a `key`, a sub-call or tool call got no answer."""

    TYPE: ClassVar[str] = "limit"

    name: str
    state: str
    """near, reached, refused (a call that would not have fitted) or cut (its cell ended before it was answered)."""
    message: str
    asked: str = ""
    """The beginning of what a refused call asked."""


class Warned(Body, frozen=True):
    """Something the user should know that changed nothing."""

    TYPE: ClassVar[str] = "warning"
    message: str


class TimePassed(Body, frozen=True, kw_only=True):
    """A share of the run's time has passed, at half of it and at five sixths; of runs that have a minute or more."""

    TYPE: ClassVar[str] = "time.passed"

    elapsed_s: float
    timeout_s: float
    cost_usd: float | None = 0.0
    """What the run has cost so far; null where a price is unknown."""


class HookEnded(Body, frozen=True, kw_only=True):
    """A hook was asked whether something may go on."""

    TYPE: ClassVar[str] = "hook"

    point: str
    """pre_run, post_run, on_error, pre_cell, pre_tool, pre_task or post_task."""
    name: str
    """Where the hook comes from, and its function."""
    proceed: bool
    """False: it said no, failed, took too long, or returned something else."""
    message: str = ""
    duration_s: float = 0.0


class Controlled(Body, frozen=True, kw_only=True):
    """Somebody acted on the run while it went on; the span is the child's where only a child is cancelled."""

    TYPE: ClassVar[str] = "control"

    action: str
    """pause, resume, cancel, set (a cap) or say (a message to the root's next turn)."""
    who: str
    why: str = ""
    cap: str = ""
    """The name of the cap that is set."""
    value: int | float | None = None
    """Its new value; null is no cap."""
    before: int | float | None = None
    text: str = ""
    """What is said."""

    @property
    def words(self) -> str:
        """What was done, by whom and why, in a sentence."""
        what = {
            "pause": "paused",
            "resume": "resumed",
            "cancel": "cancelled",
            "set": f"{self.cap} set to {_cap_text(self.value)} (it was {_cap_text(self.before)})",
            "say": f"told: {self.text}",
        }.get(self.action, self.action)
        return f"{what}, by {self.who}" + (f": {self.why}" if self.why else "")


class RecordLeft(Body, frozen=True):
    """A resumed or forked run goes on live from here: the record it serves from has no more of this completion."""

    TYPE: ClassVar[str] = "record.left"
    turn: int
    diverged: str | None = None
    """Where and how it did something else than its record says; None: the record ends here."""


def _cap_text(cap: int | float | None) -> str:
    return "no cap" if cap is None else f"{cap:g}" if isinstance(cap, float) else str(cap)
