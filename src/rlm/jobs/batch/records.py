"""The records of the runs of a batch. The ids of runs are known before they begin: whether one has begun, how it ended
and what it spent is read from its record alone, so that nothing depends on what was written down in time elsewhere.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.error_texts import revived
from rlm.core.exceptions import (
    AuthenticationError,
    ConfigError,
    QuotaExhaustedError,
    RecordError,
    ResumeError,
    SandboxUnavailableError,
    SharedBudgetExhausted,
)
from rlm.core.replay.record import Spent
from rlm.jobs.engines.ended import end_of
from rlm.jobs.engines.spending import spent_in
from rlm.repl.guest.wire import decode_value
from rlm.runtime.resume import resume_request
from rlm.trajectory.batches import Entry
from rlm.trajectory.places import log_folder
from rlm.trajectory.reader import Trajectory
from rlm.trajectory.resume import read_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rlm.core.config import Config
    from rlm.jobs.batch.folder import BatchManifest
    from rlm.jobs.batch.questions import BatchQuestion
    from rlm.runtime.models import BackendPool
    from rlm.runtime.request import Request


ENDS_ALL = (AuthenticationError, QuotaExhaustedError, RecordError, SandboxUnavailableError, SharedBudgetExhausted)
"""Errors that every other question would meet too: the batch stops, and a run that met one goes on later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The records of one batch; everything blocks while it reads."""

    manifest: BatchManifest
    config: Config
    backends: BackendPool

    def count(self, position: int) -> int:
        """How many runs of a question have begun."""
        number = 0
        while self._path(position, number).exists():
            number += 1
        return number

    def ended(self, question: BatchQuestion, number: int) -> Entry | None:
        """What the run of that number came to; None where it was cut off, or stopped with the batch."""
        body = end_of(self._path(question.position, number))
        if body is None or body.status == "cancelled" or isinstance(revived(body.error or ""), ENDS_ALL):
            return None
        spent = Spent(usage=body.usage, cost_usd=body.cost_usd) + self.spent_beside(question.position, number)
        return Entry(
            position=question.position,
            id=question.id,
            status=body.status,
            answer=body.response,
            value=value_of(body.response, self.manifest.output_schema) if body.status == "completed" else None,
            limit=body.limit,
            error=body.error,
            run=self.manifest.run_id(question.position, number),
            attempt=number,
            duration_s=round(body.duration_s, 3),
            **amounts(spent),
        )

    def resumed(self, position: int, number: int) -> Request | None:
        """The request that goes on with the run of that number; None where it has to be asked from the beginning."""
        budget: Mapping[str, Any] = msgspec.to_builtins(self.config.budget)
        overrides = {name: "none" if value is None else value for name, value in budget.items()}
        with suppress(ConfigError, ResumeError):
            return resume_request(
                self._path(position, number), self.config, overrides=overrides, on_divergence="continue"
            )
        return None

    def spent(self, position: int, number: int) -> Spent:
        """What all runs of a question used, up to that of this number; what was under way when it was cut off counts
        the most that it can have cost."""
        return self._spent_in_line(position, number) + self.spent_beside(position, number)

    def number_of(self, position: int, run_id: str) -> int:
        """The number of a run of a question; an engine that lost it may have gone on by another."""
        names = (self.manifest.run_id(position, each) for each in range(self.count(position)))
        return next((number for number, name in enumerate(names) if name == run_id), 0)

    def spent_beside(self, position: int, number: int) -> Spent:
        """What those runs used with which the run of that number did not go on."""
        line = self._line(position, number)
        return sum((self._spent_in_line(position, each) for each in range(number) if each not in line), Spent())

    def _line(self, position: int, number: int) -> set[int]:
        """The numbers of the runs with which one went on, and its own."""
        known = {self.manifest.run_id(position, each): each for each in range(number + 1)}
        line: set[int] = set()
        at: int | None = number
        while at is not None and at not in line:
            line.add(at)
            begun = next(iter(Trajectory(self._path(position, at))), None)
            at = known.get(getattr(begun.body, "resumed_from", None) or "") if begun is not None else None
        return line

    def _spent_in_line(self, position: int, number: int) -> Spent:
        path = self._path(position, number)
        try:
            root = read_line(path.parent, path.stem, decode_value).record({}).root
        except ConfigError:  # it was cut off before anything was asked
            return Spent()
        return spent_in(root, self.config, self.backends)

    def _path(self, position: int, number: int) -> Path:
        return log_folder(self.manifest.log_dir) / f"{self.manifest.run_id(position, number)}.jsonl"


def amounts(spent: Spent) -> dict[str, Any]:
    """What was spent, as the fields of an entry."""
    usage = spent.usage
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cost_usd": spent.cost_usd,
    }


def value_of(answer: str, schema: Any) -> Any:
    """The value of an answer under an output schema; None without one."""
    if schema is None:
        return None
    with suppress(msgspec.DecodeError):
        if schema.get("type") != "string":
            return msgspec.json.decode(answer)
    return answer
