"""Watches a record while it is written: what is under way, and what was answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rlm.core.events import (
    CompletionEnd,
    CompletionStart,
    Event,
    Limit,
    ModelEnd,
    ModelStart,
    ToolEnd,
    ToolStart,
    decode,
)

PHASES = ("turn", "sub-call", "batch", "tool", "child", "landing")
_BATCH = frozenset({"first", "second", "third", "fourth"})


@dataclass(kw_only=True)
class Watch:
    """One record, read as far as it was written."""

    path: Path
    events: int = 0
    has_begun: bool = False
    """Whether the root completion has; before that there is nothing to resume."""
    end: CompletionEnd | None = None
    """How the root completion ended; None while it goes on."""
    answered: set[str] = field(default_factory=set)
    """The replies and the results of tools that this run paid for itself."""
    is_whole: bool = True
    """Whether no event is missing."""
    _open: dict[str, str] = field(default_factory=dict)
    """The phase of each span that is under way."""
    _at: int = 0
    _lands: bool = False

    def phase(self) -> str:
        """What is under way, the innermost that has a name."""
        under_way = set(self._open.values())
        if self._lands:
            return "landing"
        return next((name for name in ("child", "tool", "batch", "sub-call") if name in under_way), "turn")

    def read(self) -> Iterator[str]:
        """Take what was written since; gives the phase of each call that begins and is not served."""
        with self.path.open("rb") as file:
            file.seek(self._at)
            lines = file.read().splitlines(keepends=True)
        for line in lines:
            if not line.endswith(b"\n"):
                return
            self._at += len(line)
            event = decode(line)
            self.is_whole &= event.seq == self.events
            self.events += 1
            yield from self._take(event)

    def _take(self, event: Event) -> Iterator[str]:
        match event.body:
            case CompletionStart() if event.parent is None:
                self.has_begun = True
            case CompletionEnd() as end if event.parent is None:
                self.end = end
            case Limit(state="reached") if event.parent is None:
                self._lands = True
            case CompletionStart() | ToolStart() | ModelStart():
                name = self._open[event.span] = self._name(event)
                if not event.served:
                    yield name
            case ModelEnd(error=None) | ToolEnd(error=None) if not event.served:
                self.answered.add(_answer(event.body))
        if event.type.endswith(".end"):
            self._open.pop(event.span, None)

    def _name(self, event: Event) -> str:
        body = event.body
        if isinstance(body, CompletionStart):
            return "child"
        if isinstance(body, ToolStart):
            return "tool"
        if body.purpose == "landing":
            return "landing"
        if body.purpose != "llm_query":
            return "turn"
        return "batch" if body.prompt in _BATCH else "sub-call"


def _answer(body: ModelEnd | ToolEnd) -> str:
    return body.text if isinstance(body, ModelEnd) else str(body.result)
