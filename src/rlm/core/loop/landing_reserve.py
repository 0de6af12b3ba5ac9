"""What a run sets aside from its budget, so that it can still give an answer when a limit is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from rlm.core.budget import CallEstimate, Ledger

if TYPE_CHECKING:
    from rlm.core.budget import Budget
    from rlm.core.run import Model

LANDING_SHARE = 10
"""One part in so many of the token budget is set aside for the landing call, up to `LANDING_TOKENS`."""
LANDING_TOKENS = 16_000
LANDING_LEAST_TOKENS = 2_000
"""Room for the instructions, a task and a short answer, where half of the budget has it."""


class _Reserve(TypedDict):
    landing_tokens: int
    landing_usd: float


def root_ledger(budget: Budget, model: Model, above: Ledger | None = None) -> Ledger:
    """The ledger of the root, with what its landing may need set aside; `above` is one that many runs share."""
    return Ledger(budget, above=above, **_reserve(budget, model))


def change_caps(ledger: Ledger, budget: Budget, model: Model) -> None:
    """Put other caps in the place of those of a whole run, and set aside what its landing may need of them."""
    ledger.change_caps(budget, **_reserve(budget, model))


def _reserve(budget: Budget, model: Model) -> _Reserve:
    tokens, cap_usd = budget.token_budget or 0, budget.cost_budget_usd or 0.0
    most_usd, least_usd = (_landing_usd(model, size) for size in (LANDING_TOKENS, LANDING_LEAST_TOKENS))
    return _Reserve(
        landing_tokens=min(LANDING_TOKENS, max(tokens // LANDING_SHARE, min(LANDING_LEAST_TOKENS, tokens // 2))),
        landing_usd=min(most_usd, max(cap_usd / LANDING_SHARE, min(least_usd, cap_usd / 2))),
    )


def _landing_usd(model: Model, tokens: int) -> float:
    """The most that a landing of that size costs, half of it prompt."""
    return CallEstimate(input_tokens=tokens // 2, max_output_tokens=tokens // 2, price=model.price).cost_usd(
        tokens // 2
    )
