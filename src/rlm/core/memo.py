"""Answers identical sub-calls of a run once: the same model, messages and options get the same reply, paid for once.

Failures and replies that were cut off are not kept, though callers that wait for one share it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rlm.core.exceptions import RLMError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rlm.core.interfaces import ReplyCache
    from rlm.core.types import ModelReply


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A reply, and where it came from."""

    reply: ModelReply
    span: str | None
    """The span of the call that was paid; None where that was in an earlier run."""
    fresh: bool = True
    """It was paid for just now."""


class Memo:
    """The replies of one run, and of earlier ones if there is a `cache`; used on one event loop only."""

    def __init__(
        self, cache: ReplyCache | None = None, recorded: Callable[[str], Answered | None] | None = None
    ) -> None:
        """`recorded` finds what the record that a run resumes has of a call."""
        self._cache = cache
        self._recorded = recorded
        self._known: dict[str, asyncio.Future[Answered | RLMError | None]] = {}

    async def answer(self, key: str, make: Callable[[], Awaitable[Answered]]) -> Answered:
        """The reply to the call `key` that is known or on its way, else what `make()` gives.

        Raises:
            RLMError: `make` failed, here or for the caller that this one waited for.
        """
        while (pending := self._known.get(key)) is not None:
            outcome = await asyncio.shield(pending)
            if isinstance(outcome, RLMError):
                raise outcome
            if outcome is not None:
                return replace(outcome, fresh=False)
        return await self._answer_first(key, make)

    async def _answer_first(self, key: str, make: Callable[[], Awaitable[Answered]]) -> Answered:
        pending = self._known[key] = asyncio.get_running_loop().create_future()
        outcome: Answered | RLMError | None = None  # None tells those who wait to try for themselves
        try:
            outcome = answered = self._from_record(key) or await self._from_cache(key) or await make()
        except RLMError as error:
            outcome = error
            raise
        finally:
            if not isinstance(outcome, Answered) or outcome.reply.finish != "stop":
                del self._known[key]
            pending.set_result(outcome)  # before anything that may be cancelled: others wait for it
        if answered.fresh and key in self._known:
            await self._put(key, answered.reply)
        return answered

    def _from_record(self, key: str) -> Answered | None:
        return None if self._recorded is None else self._recorded(key)

    async def _from_cache(self, key: str) -> Answered | None:
        reply = None if self._cache is None else await asyncio.to_thread(self._cache.get, key)
        return None if reply is None else Answered(reply=reply, span=None, fresh=False)

    async def _put(self, key: str, reply: ModelReply) -> None:
        if self._cache is not None:
            await asyncio.to_thread(self._cache.put, key, reply)
