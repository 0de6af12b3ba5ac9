"""The part of a budget over many runs that one run has for its own while it is made elsewhere. It is held by the ledger
of all until the run has told what it used: what is left over is given back, and of a run that is lost all of it counts
as used until its record says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from rlm.core.budget import CallEstimate
from rlm.core.types import Price, RunUsage, TokenUsage

if TYPE_CHECKING:
    from rlm.core.budget import Reservation
    from rlm.core.outcome import RLMResult
    from rlm.jobs.engines.cluster.messages import RunAsked
    from rlm.runtime.request import Request

_ANY_TOKENS = 1 << 30
"""What stands for tokens where only money is capped."""
LEAST_TOKENS, LEAST_SHARE = 50_000, 64
"""A first lease is the part of a run among all that go on at one time, and no less than this, or this part of a cap."""


@dataclass(slots=True, kw_only=True)
class Lease:
    """What one run may use; ends by one `settle`."""

    tokens: int | None = None
    cost_usd: float | None = None
    _held: Reservation | None = None

    @classmethod
    async def draw(cls, request: Request, runs: int, times: int = 1) -> Lease:
        """Draw a lease, waiting while others may still give theirs back; `times` as much as a first one has.

        Raises:
            SharedBudgetExhausted: there is not enough left for a call.
        """
        above, own = request.above, request.config.budget
        if above is None or (above.budget.token_budget is None and above.budget.cost_budget_usd is None):
            return cls()
        tokens, usd = above.budget.token_budget, above.budget.cost_budget_usd
        asked = _ANY_TOKENS
        if tokens is not None:
            asked = min(own.token_budget or tokens, times * max(tokens // (2 * runs), LEAST_TOKENS))
        asked_usd = 0.0
        if usd is not None:
            asked_usd = min(own.cost_budget_usd or usd, times * max(usd / (2 * runs), usd / LEAST_SHARE))
        price = Price(input_usd=0.0, output_usd=asked_usd * 1e6 / asked)
        held = await above.reserve(CallEstimate(input_tokens=0, max_output_tokens=asked, price=price))
        return cls(
            tokens=None if tokens is None else held.max_output_tokens,
            cost_usd=None if usd is None else held.cost_usd,
            _held=held,
        )

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing is shared with others."""
        return self.tokens is None and self.cost_usd is None

    def of(self, asked: RunAsked) -> RunAsked:
        """What a worker is asked, with this lease."""
        return msgspec.structs.replace(asked, token_lease=self.tokens, cost_lease_usd=self.cost_usd)

    def settle(self, usage: RunUsage, cost_usd: float | None) -> None:
        """Count what was used, and give the rest back."""
        held, self._held = self._held, None
        if held is not None:
            used = TokenUsage(
                input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, cached_tokens=usage.cached_tokens
            )
            held.settle(used, cost_usd, calls=usage.model_calls)


@dataclass(slots=True, kw_only=True)
class Counted:
    """What a line of runs used, as far as the ledger of all knows of it."""

    usage: RunUsage
    cost_usd: float | None

    def beyond(self, result: RLMResult) -> tuple[RunUsage, float | None]:
        """What a result has used beyond that."""
        new, old = result.usage, self.usage
        more = RunUsage(
            input_tokens=max(0, new.input_tokens - old.input_tokens),
            output_tokens=max(0, new.output_tokens - old.output_tokens),
            cached_tokens=max(0, new.cached_tokens - old.cached_tokens),
            model_calls=max(0, new.model_calls - old.model_calls),
        )
        if result.cost_usd is None or self.cost_usd is None:
            return more, None
        return more, max(0.0, result.cost_usd - self.cost_usd)
