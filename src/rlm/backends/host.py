"""A backend whose model is whoever drives this process: a call waits as a query until the host hands in its answer.

It shows nothing and knows no protocol; whoever fetches the queries and hands in the answers does. A request that goes
on with a conversation the host has seen, as those of a child do, carries only what is new in it.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from rlm.backends.estimate import estimate_usage
from rlm.core.exceptions import BadRequestError, ContextOverflowError
from rlm.core.types import Message, ModelReply, ModelRequest, ModelTraits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LABEL = "host"
"""The name of the host as a model."""
QUERY_BYTES = 60_000
"""The most bytes of one query, since it becomes a part of the host's own conversation."""

Sampler: TypeAlias = "Callable[[ModelRequest], Awaitable[str | None]]"
"""A function that answers a request directly, or returns None where it has to wait for the host as a query."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostQuery:
    """One request that waits for the host."""

    id: str
    """The name of the query: q1, q2 and so on, never used twice."""
    messages: tuple[Message, ...]
    """The messages that the host has not seen; the system prompt of a child only in its first turn."""
    continues: str | None
    """The query whose conversation this goes on with."""
    is_turn: bool
    """Whether it asks for a child's turn, not for a plain answer."""
    answer: asyncio.Future[str] = field(repr=False)

    @property
    def size_bytes(self) -> int:
        return sum(len(message.content.encode("utf-8", "surrogatepass")) for message in self.messages)


class HostBackend:
    """The queries of one session; used on one event loop."""

    def __init__(self, answer_timeout_s: float) -> None:
        self._answer_timeout_s = answer_timeout_s
        self._waiting: dict[str, HostQuery] = {}
        self._conversations: dict[str, str] = {}
        self._count = 0
        self.sampler: Sampler | None = None
        """Asks the host directly, where it offers that."""
        self.arrived = asyncio.Event()
        """Set when another query begins to wait."""

    @property
    def waiting(self) -> tuple[HostQuery, ...]:
        """The queries without an answer, in the order they came."""
        return tuple(self._waiting.values())

    def was_asked(self, query_id: str) -> bool:
        """Whether there was ever a query of that id."""
        return query_id[:1] == "q" and query_id[1:].isdecimal() and 1 <= int(query_id[1:9]) <= self._count

    def give(self, query_id: str, text: str) -> bool:
        """Answer a query; False if none of that id waits."""
        query = self._waiting.pop(query_id, None)
        if query is None or query.answer.done():
            return False
        query.answer.set_result(text)
        return True

    def traits(self, model: str) -> ModelTraits:  # noqa: ARG002 - there is one
        return ModelTraits(native_tools=False, prompt_bytes=QUERY_BYTES, by_hand=True)

    async def call(self, request: ModelRequest) -> ModelReply:
        """Wait for the host's answer. Raises:
        ContextOverflowError: the prompt is more than a query may show.
        BadRequestError: it has images.
        TimeoutError: no answer came in time; guest code gets this error unchanged.
        """
        _check_images(request)
        sampled = None if self.sampler is None else await self._sampled(self.sampler, request)
        if sampled is not None:
            return ModelReply(text=sampled, usage=estimate_usage(request, sampled))
        query = self._asked(request)
        self._waiting[query.id] = query
        self.arrived.set()
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                text = await query.answer
        except TimeoutError:
            raise TimeoutError(f"nobody answered {query.id} within {self._answer_timeout_s:g} s") from None
        finally:
            self._waiting.pop(query.id, None)
        reply = Message(role="assistant", content=text)
        self._conversations[_digest((*request.messages, reply))] = query.id
        return ModelReply(text=text, usage=estimate_usage(request, text))

    async def _sampled(self, sampler: Sampler, request: ModelRequest) -> str | None:
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                return await sampler(request)
        except TimeoutError:
            raise TimeoutError(f"the host's model did not answer within {self._answer_timeout_s:g} s") from None

    async def aclose(self) -> None:
        """There is nothing to close; queries that wait are cancelled by those who asked them."""

    def _asked(self, request: ModelRequest) -> HostQuery:
        messages, continues = self._new_part(request.messages)
        query = HostQuery(
            id=f"q{self._count + 1}",
            messages=messages,
            continues=continues,
            is_turn=request.messages[0].role == "system",
            answer=asyncio.get_running_loop().create_future(),
        )
        if query.size_bytes > QUERY_BYTES:
            raise ContextOverflowError(
                f"the prompt has {query.size_bytes:,} bytes and the host model takes {QUERY_BYTES:,} at a time: "
                "ask about smaller parts"
            )
        self._count += 1
        return query

    def _new_part(self, messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], str | None]:
        """What of a conversation the host has not seen, and the query that it goes on with."""
        said = [index for index, message in enumerate(messages) if message.role == "assistant"]
        if said and (known := self._conversations.get(_digest(messages[: said[-1] + 1]))) is not None:
            return messages[said[-1] + 1 :], known
        return messages, None


def _check_images(request: ModelRequest) -> None:
    if any(message.images for message in request.messages):
        raise BadRequestError("the host model is asked in text: images can't go with a query here")


def _digest(messages: tuple[Message, ...]) -> str:
    texts = [(message.role, message.content) for message in messages]
    return hashlib.sha256(repr(texts).encode("utf-8", "surrogatepass")).hexdigest()
