"""The addresses of the pages: every place has one, which can be shared, and which is read as a stranger's text."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

VIEWS = ("run", "timeline", "budget", "search", "compare", "days", "tasks", "batch")
"""The views of a run, and of all runs: their list, the search in them, what they came to day by day, task lists, and
the batch whose runs they are."""
_ONCE = {"overview": "run", "steps": "run"}
"""What views were called in addresses that people have kept."""
PICKS = ("failed", "slowest", "dearest")
KINDS = ("completion", "turn", "model", "exec", "tool")
COLOURS = ("kind", "tokens", "cost")
LAYOUTS = ("timeline", "flame")
ORDERS = ("started", "duration", "tokens", "cost", "turns", "calls", "errors", "model", "status")
STATUSES = ("running", "completed", "limit", "failed", "cancelled", "crashed")

TEXT_CHARS = 200
NUMBER_MAX = 10**9
_RUN_ID = re.compile(r"[0-9a-f]{1,32}")
_SPAN_ID = re.compile(r"[0-9a-f]{1,16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place: a view and what is shown in it. What is left out is the default."""

    run: str = ""
    view: str = ""
    step: int = 0
    """The number of a step, from 1, in the order in which steps began; 0 for no step. Steps are the turns of a run; of
    one without turns, such as a session, its cells."""
    span: str = ""
    """The id of the selected span."""
    at: int = 0
    """The number of the selected span of the timeline, from 1; 0 for no span."""
    page: int = 0
    """The page, from 0, of the list in the view."""
    saw: int = 0
    """The page, from 0, of what a model was sent, the newest messages first."""
    pick: str = ""
    """Which calls are listed in the place of the tree: one of `PICKS`."""
    kind: str = ""
    """The kind of the calls that are listed in the place of the tree."""
    q: str = ""
    """The text that is searched for."""
    status: tuple[str, ...] = ()
    model: str = ""
    days: int = 0
    """How many days back runs are listed; 0 for all runs."""
    min_cost: float = 0.0
    order: str = ""
    colour: str = ""
    layout: str = ""
    other: str = ""
    """The run to compare with."""
    tasks: str = ""
    """The task list that is shown; none: all of them are listed."""

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Place:
        """The place that an address means; what makes no sense in it is ignored."""
        read = {name: reader(str(params[name])) for name, reader in _READERS.items() if name in params}
        return cls(**read)

    def params(self) -> dict[str, str]:
        """The address, as query parameters; defaults are left out."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: _write(value) for name, value in given.items() if value not in ("", 0, 0.0, ())}

    def href(self) -> str:
        """The address, relative to any page of the app."""
        return "?" + urlencode(self.params())

    def to(self, **changes: Any) -> Place:
        """This place with changes; a list begins at its first page again."""
        return replace(self, **{"page": 0, **changes})


def of_run(run: str, view: str = "run", **rest: Any) -> Place:
    """A view of a run, with nothing kept of the present place."""
    return Place(run=run, view="" if view == "run" else view, **rest)


def _write(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(text: str) -> str:
    return text[:TEXT_CHARS]


def _number(text: str) -> int:
    return min(int(text), NUMBER_MAX) if text.isascii() and text.isdecimal() and len(text) < TEXT_CHARS else 0


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        return 0.0
    return amount if 0.0 <= amount < NUMBER_MAX else 0.0


def _run(text: str) -> str:
    """An id of hex digits, which can't lead out of the folder; anything else isn't an id, and is reported as such."""
    return text if _RUN_ID.fullmatch(text) or text == "last" else _text(text)


def _one_of(*names: str) -> Any:
    return lambda text: text if text in names else ""


def _view(text: str) -> str:
    view = _ONCE.get(text, text)
    return view if view in VIEWS[1:] else ""


_READERS: dict[str, Any] = {
    "run": _run,
    "view": _view,
    "step": _number,
    "span": lambda text: text if _SPAN_ID.fullmatch(text) else "",
    "at": _number,
    "page": _number,
    "saw": _number,
    "pick": _one_of(*PICKS),
    "kind": _one_of(*KINDS),
    "q": _text,
    "status": lambda text: tuple(name for name in STATUSES if name in text.split(",")),
    "model": _text,
    "days": _number,
    "min_cost": _amount,
    "order": _one_of(*ORDERS),
    "colour": _one_of(*COLOURS),
    "layout": _one_of(*LAYOUTS),
    "other": _run,
    "tasks": _run,
}
