"""What may be done with a run while it goes on: pause it and go on, change its caps, say something to it, cancel it or
one of its children. Whichever way an act comes in, it is checked, done and recorded here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from msgspec import Struct

from rlm.core.budget import Budget
from rlm.core.events import Controlled, Warned
from rlm.core.exceptions import ConfigError
from rlm.core.loop.landing_reserve import change_caps
from rlm.core.record.recorder import Span
from rlm.core.types import Json  # noqa: TC001 (msgspec reads it at run time)
from rlm.trajectory.fold import LiveRun

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rlm.core.events import Event
    from rlm.core.replay.serving import Recall
    from rlm.core.run import Run, Task
    from rlm.runtime.models import RunModels
    from rlm.trajectory.states import SpanState

Action: TypeAlias = Literal["pause", "resume", "cancel", "set", "say"]
FIXED_CAPS = frozenset({"max_concurrency", "token_budget_counts"})
"""The fields of a budget that a run keeps as it began with them."""
SAID_CHARS = 20_000
"""The longest message to a run."""
WHO_CHARS = 200


class Act(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that is to be done with a run in progress."""

    action: Action
    who: str = ""
    why: str = ""
    cap: str = ""
    """With `set`: the name of the cap."""
    value: Json = None
    """With `set`: its new value; null is no cap."""
    text: str = ""
    """With `say`: a message to the root's next turn."""
    child: str = ""
    """With `cancel`: the span of a child, or the beginning of its id; empty: the whole run."""


class ChildStatus(Struct, frozen=True, kw_only=True):
    """A child in progress."""

    id: str
    prompt: str
    depth: int
    started_at: float


class RunStatus(Struct, frozen=True, kw_only=True):
    """How a run in progress stands."""

    id: str
    state: Literal["running", "paused"]
    pid: int
    prompt: str
    """Its beginning."""
    model: str
    environment: str
    started_at: float
    """Seconds since the epoch."""
    elapsed_s: float
    """On the run's clock, which stands while it is paused."""
    turns: int
    cells: int
    model_calls: int
    subcalls: int
    tool_calls: int
    tokens: int
    cost_usd: float | None
    """None where the price of a call is unknown."""
    budget: dict[str, Json]
    """The caps as they are now."""
    waits_for: list[str]
    """What is under way."""
    children: list[ChildStatus]
    record: str
    """The path of its record."""


class RunView:
    """A sink that keeps the state of one run, for whoever asks how it stands."""

    on_loop = True

    def __init__(self) -> None:
        self.live = LiveRun()

    def write(self, event: Event) -> None:
        self.live.add(event)

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a run from outside of its loop."""

    models: RunModels
    view: RunView
    path: Path
    """The path of the record."""
    is_interactive: bool
    """Its cells come from outside: it has no turns and no landing."""


class RunControl:
    """One run in progress, as others see it and act on it; used on the event loop of the run."""

    def __init__(self, run: Run, task: Task, recall: Recall, about: Seen) -> None:
        self.path = about.path
        self._run = run
        self._task = task
        self._recall = recall
        self._about = about
        self.stop: Callable[[], object] | None = None
        """Cancels the run; None where it can't be cancelled from here."""

    @property
    def id(self) -> str:
        """The id of the run."""
        return self._run.recorder.run_id

    def act(self, act: Act) -> None:
        """Do something with the run, and record it.

        Raises:
            ConfigError: it can't be done; says why.
        """
        act = msgspec.structs.replace(act, who=(act.who or "somebody")[:WHO_CHARS])
        match act.action:
            case "pause":
                self._record(act)
                self._task.clock.stop()
            case "resume":
                self._record(act)
                self._task.clock.go_on()
            case "set":
                self._set(act)
            case "say":
                self._say(act)
            case "cancel":
                self._cancel(act)

    def act_if_possible(self, act: Act) -> None:
        """Do something that was asked before the run had begun; what can't be done is a warning in its record."""
        try:
            self.act(act)
        except ConfigError as error:
            said = f"{act.action} was asked for while the run waited, and can't be done: {error}"
            self._run.recorder.record(self._run.recorder.root, Warned(message=said))

    def status(self) -> RunStatus:
        """How the run stands."""
        state, open_spans = self._about.view.live.state, self._about.view.live.open_spans
        return RunStatus(
            id=self.id,
            state="paused" if self._task.clock.is_stopped else "running",
            pid=os.getpid(),
            prompt=state.prompt,
            model=state.model,
            environment=state.environment,
            started_at=state.started_at,
            elapsed_s=round(self._task.clock.elapsed_s, 3),
            turns=state.turns,
            cells=state.cells,
            model_calls=state.model_calls,
            subcalls=state.subcalls,
            tool_calls=state.tool_calls,
            tokens=state.tokens,
            cost_usd=0.0 if not state.model_calls else state.cost_usd,
            budget=msgspec.structs.asdict(self._task.scope.ledger.caps),
            waits_for=[_words(span) for span in open_spans if span.kind in ("model", "exec", "tool")],
            children=[
                ChildStatus(id=span.id, prompt=span.head, depth=span.depth, started_at=span.started_at)
                for span in open_spans
                if span.kind == "completion" and span.id in self._run.children
            ],
            record=str(self.path.absolute()),
        )

    def _set(self, act: Act) -> None:
        ledger = self._task.scope.ledger
        caps = msgspec.structs.asdict(ledger.caps)
        names = [name for name in caps if name not in FIXED_CAPS]
        if act.cap not in names:
            meant = "".join(f"\ndid you mean {near}?" for near in get_close_matches(act.cap, names, n=1))
            raise ConfigError(f"{act.cap!r} is not a cap that can be set: {', '.join(names)}{meant}")
        try:
            budget = msgspec.convert({**caps, act.cap: act.value}, Budget)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{act.cap}: {error}") from error
        self._about.models.check_prices(budget)
        self._record(act, before=caps[act.cap])
        if not self._about.is_interactive:
            change_caps(ledger, budget, self._task.model)
        else:
            ledger.change_caps(budget, landing_tokens=0, landing_usd=0.0)
        if act.cap == "timeout_s":
            self._task.clock.limit_to(budget.timeout_s)

    def _say(self, act: Act) -> None:
        if self._about.is_interactive:
            raise ConfigError("say: the cells of this run come from outside, it has no turns to be told anything")
        if not act.text.strip():
            raise ConfigError("say: there is nothing to be said")
        if len(act.text) > SAID_CHARS:
            raise ConfigError(f"say: at most {SAID_CHARS:,} characters, not {len(act.text):,}")
        self._record(act)
        self._recall.say(act.text)

    def _cancel(self, act: Act) -> None:
        if not act.child:
            if self.stop is None:
                raise ConfigError("this run is driven from outside: whoever opened it ends it")
            self._record(act)
            self.stop()
            return
        found = [span for span in self._run.children if span.startswith(act.child.lower())]
        if len(found) != 1:
            said = "no child in progress begins" if not found else f"{len(found)} children in progress begin"
            raise ConfigError(f"{said} with {act.child!r}\nrlm ctl status shows them")
        above = next((span.parent for span in self._about.view.live.open_spans if span.id == found[0]), None)
        self._record(act, span=Span(found[0], above))
        why = f"this child was cancelled by {act.who}" + (f": {act.why}" if act.why else "")
        self._run.children.cancel(found[0], why)

    def _record(self, act: Act, *, before: Json = None, span: Span | None = None) -> None:
        body = Controlled(
            action=act.action,
            who=act.who,
            why=act.why,
            cap=act.cap,
            value=act.value,
            before=before,
            text=act.text,
        )
        self._run.recorder.record(span or self._run.recorder.root, body)


def written_act(action: Action, given: str = "", *, who: str, why: str = "") -> Act:
    """An act as a person writes it; `given` is a cap and its value with `set` (`token_budget=2_000_000`, or `none`),
    the message with `say`, the id of a child with `cancel`."""
    match action:
        case "set":
            cap, _, value = given.partition("=")
            name = cap.strip().replace("-", "_")
            return Act(action=action, who=who, why=why, cap=name, value=_cap_value(value.strip()))
        case "say":
            return Act(action=action, who=who, why=why, text=given)
        case "cancel":
            return Act(action=action, who=who, why=why, child=given)
    return Act(action=action, who=who, why=why)


def _cap_value(text: str) -> Json:
    """The value of a cap as it is written: a number, a word, or `none`."""
    if text.lower() == "none":
        return None
    plain = text.replace("_", "").replace(",", "")
    for kind in (int, float):
        with suppress(ValueError):
            return kind(plain)
    return text


def _words(span: SpanState) -> str:
    what = {"model": f"{span.name} by {span.model}", "exec": f"cell {span.ordinal}", "tool": f"tool {span.name}"}
    return what[span.kind]
