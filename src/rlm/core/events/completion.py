"""Events of a completion: its begin and end, its conversation, its turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rlm.core.events.body import Body, Keyed
from rlm.core.notes import ContextNote, ImageNote  # noqa: TC001 (msgspec reads them at run time)
from rlm.core.types import Citation, Json, Role, RunUsage, Status  # noqa: TC001 (msgspec reads them at run time)

if TYPE_CHECKING:
    from rlm.core.outcome import Outcome


class CompletionStart(Keyed, frozen=True, kw_only=True):
    """A completion begins; the root's span has no parent, a child's parent is the exec span that asked."""

    TYPE: ClassVar[str] = "completion.start"

    depth: int
    prompt: str
    model: str
    dialect: str
    context: ContextNote
    output_schema: Json = None
    """What the answer must fit; only of the root."""


class CompletionEnd(Body, frozen=True):
    """A completion ends, whatever ended it."""

    TYPE: ClassVar[str] = "completion.end"

    status: Status
    response: str
    duration_s: float
    usage: RunUsage
    """Of this completion and all below it."""
    limit: str | None = None
    error: str | None = None
    """Class and message of what failed."""
    cost_usd: float | None = None
    sources: list[Citation] = []
    """The words of the data that the answer was said to rest on, each with where the data has them."""

    @classmethod
    def of(cls, outcome: Outcome) -> CompletionEnd:
        """The end of a completion that came to this outcome."""
        ended = {name: getattr(outcome, name) for name in cls.__struct_fields__}
        error = outcome.error
        said = None if error is None else f"{type(error).__name__}: {error}"
        return cls(**ended | {"error": said, "sources": list(outcome.sources)})


class MessageAdded(Body, frozen=True):
    """A message joins a completion's conversation; assistant messages are in `model.end` instead."""

    TYPE: ClassVar[str] = "message"

    role: Role
    content: str
    tool_call_id: str | None = None
    images: list[ImageNote] = []
    """Only with role `user`."""


class Advised(Body, frozen=True):
    """The runtime saw something go wrong that the model can mend, and did something about it, once."""

    TYPE: ClassVar[str] = "advice"

    name: str
    """What was seen: blind_query, apology, empty_answer, sources, unseen_answer, cut_answer, cut_output, printed_data,
    same_cell or same_error."""
    message: str
    """What the model was told, or asked otherwise."""
    way: str = "note"
    """note (a message after the results), held (a message in place of taking its answer), anew (its replies so far are
    left out of what it is sent; a `compaction` has the message in their place), temperature (it is asked with another
    one) or landing (it is asked for its best answer)."""


class Compaction(Body, frozen=True):
    """Notes took the place of older messages in what the model is sent, for they had no room, or went in circles; the
    record keeps those messages."""

    TYPE: ClassVar[str] = "compaction"
    dropped: int
    """How many messages after the first two were replaced."""
    content: str
    """The message that replaced them."""


class TurnStart(Body, frozen=True):
    """A turn begins."""

    TYPE: ClassVar[str] = "turn.start"

    turn: int
    """From 1."""
    dialect: str | None = None
    """Only where it is not that of `completion.start`: the model that goes on from here talks in another way."""


class TurnEnd(Body, frozen=True):
    """A turn ends: its model call is answered and its cells have run."""

    TYPE: ClassVar[str] = "turn.end"

    turn: int
