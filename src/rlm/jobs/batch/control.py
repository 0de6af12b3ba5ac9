"""A batch in progress as `rlm ctl` sees it, beside its runs: it is paused and cancelled as a whole, under its caps."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from rlm.core.budget import Budget
from rlm.core.exceptions import ConfigError
from rlm.runtime.control import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.jobs.batch.batch import Batch
    from rlm.runtime.control import Act

CAPS = ("token_budget", "cost_budget_usd")
"""The caps that may change while it goes on."""


class BatchControl:
    """One batch in progress; see `Steered`."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._began_at = time.time()
        self.stop: Callable[[], object] | None = None

    @property
    def id(self) -> str:
        return self._batch.plan.manifest.id

    def act(self, act: Act) -> None:
        """See `Steered.act`."""
        if act.action in ("pause", "resume") and not act.child:
            self._batch.pause(act) if act.action == "pause" else self._batch.go_on(act)
        elif act.action == "cancel" and not act.child:
            self._batch.cancel(act)
        elif act.action == "set" and act.cap in CAPS:
            self._set(act)
        else:
            raise ConfigError(
                f"{self.id[:8]} is a batch, which can be paused, resumed and cancelled, and whose "
                f"{' and '.join(CAPS)} can be set\nname one of its runs for anything else: rlm ctl shows them"
            )

    def act_if_possible(self, act: Act) -> None:
        """See `Steered.act_if_possible`."""
        with suppress(ConfigError):
            self.act(act)

    def status(self) -> RunStatus:
        """See `Steered.status`: what its runs in progress do is in their own."""
        batch, stands = self._batch, self._batch.status
        return RunStatus(
            id=self.id,
            state="paused" if batch.is_paused else "running",
            pid=os.getpid(),
            prompt=f"batch of {stands.count:,}: {stands.completed:,} completed, {stands.failed:,} failed",
            model=batch.plan.config.model or "",
            environment=batch.plan.config.environment,
            started_at=self._began_at,
            elapsed_s=round(stands.elapsed_s, 3),
            turns=0,
            cells=0,
            model_calls=batch.ledger.usage().model_calls,
            subcalls=0,
            tool_calls=0,
            tokens=stands.input_tokens + stands.output_tokens,
            cost_usd=stands.cost_usd,
            budget=msgspec.structs.asdict(batch.ledger.budget),
            waits_for=[f"{stands.running:,} runs"],
            children=[],
            record=str(batch.plan.folder.journal.absolute()),
        )

    def _set(self, act: Act) -> None:
        caps = msgspec.structs.asdict(self._batch.ledger.budget)
        try:
            budget = msgspec.convert({**caps, act.cap: act.value}, Budget)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{act.cap}: {error}") from error
        self._batch.ledger.change_caps(budget, landing_tokens=0, landing_usd=0.0)
