"""A backend that answers from the record of a run, for tests and for a look at what a change does at no cost. It
reaches no model: a request that the record doesn't have is an error, never a guess."""

from __future__ import annotations

from collections import defaultdict, deque
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core import prompts
from rlm.core.events import CompletionStart, MessageAdded, ModelEnd, ModelStart
from rlm.core.exceptions import BadRequestError
from rlm.core.types import ModelReply, ModelTraits
from rlm.trajectory.reader import Trajectory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.backends import BackendSetup
    from rlm.core.events import Event
    from rlm.core.types import ModelRequest

_SHOWN_CHARS = 100
_PROMPTS = {
    "compaction": prompts.render("compaction"),
    "landing": prompts.render("landing", reason="\0").partition("\0")[0],
}
"""The texts that end a request of these purposes, or begin its end; the record has them in no message."""


class ReplayBackend:
    """Answers model `replay/<path of a record>`: each request as the record answers one that ends in the same message.

    Where the record has several such requests, they are answered in its order.
    """

    def __init__(self) -> None:
        self._records: dict[str, _Replies] = {}

    on_loop = True

    @classmethod
    def from_setup(cls, setup: BackendSetup) -> ReplayBackend:  # noqa: ARG003 - nothing to set
        return cls()

    def traits(self, model: str) -> ModelTraits:
        return ModelTraits(native_tools=self._of(model).native_tools)

    async def call(self, request: ModelRequest) -> ModelReply:
        """Raises:
        BadRequestError: the record has no answer to the request, or no more of them.
        """
        return self._of(request.model).answer(request.messages[-1].content)

    async def aclose(self) -> None:
        self._records.clear()

    def _of(self, model: str) -> _Replies:
        if model not in self._records:
            self._records[model] = _Replies(Trajectory(Path(model)))
        return self._records[model]


class _Replies:
    """The replies of one record, by the text of the message that each of them answers."""

    def __init__(self, run: Trajectory) -> None:
        self.native_tools = True
        self._path = run.path
        self._left: defaultdict[str, deque[ModelReply]] = defaultdict(deque)
        for asked, end in self._pairs(run):
            self._left[asked].append(end.reply)

    def answer(self, asked: str) -> ModelReply:
        asked = next((purpose for purpose, text in _PROMPTS.items() if asked.startswith(text)), asked)
        if not self._left.get(asked):
            raise BadRequestError(
                f"{self._path} has no reply left to a message that begins with {asked[:_SHOWN_CHARS]!r}: something "
                "before it must have gone differently than in the record"
            )
        return self._left[asked].popleft()

    def _pairs(self, run: Trajectory) -> Iterator[tuple[str, ModelEnd]]:
        """The last message and the reply of each call that was answered."""
        last: dict[str, str] = {}
        completion: dict[str, str] = {}
        asked: dict[str, str] = {}
        for event in map(run.whole, run):
            self._follow(event, last, completion)
            if isinstance(event.body, ModelStart):
                own = last.get(completion.get(event.parent or "", event.parent or ""), "")
                known = event.body.purpose if event.body.purpose in _PROMPTS else event.body.prompt
                asked[event.span] = own if known is None else known
            elif isinstance(event.body, ModelEnd) and event.body.error is None and not event.body.cached:
                yield asked.get(event.span, ""), event.body

    def _follow(self, event: Event, last: dict[str, str], completion: dict[str, str]) -> None:
        """Keep the last message of each completion, and which completion each turn is in."""
        match event.body:
            case CompletionStart(dialect=dialect, depth=depth):
                self.native_tools = dialect == "tools" if depth == 0 else self.native_tools
            case MessageAdded(content=content):
                last[event.span] = content
        if event.type == "turn.start" and event.parent is not None:
            completion[event.span] = event.parent
