"""What became of a completion: what the loop hands on, to a parent's cell or, with its record, to the user; and the
result of a cell as it leaves the runtime.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Generic, Self

from rlm.core.texts import change_texts
from rlm.core.types import RunUsage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rlm.core.interfaces import Masker
    from rlm.core.types import Citation, ExecResult, Status

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    V_co = TypeVar("V_co", default=Any, covariant=True)
else:
    from typing import TypeVar

    V_co = TypeVar("V_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[V_co]):
    """How one completion ended, its answer, and what it and all below it used."""

    status: Status
    response: str
    """The answer as text; with a status other than completed, the best there was, perhaps empty."""
    value: V_co = None  # type: ignore[assignment]  # where there is no answer
    """The answer as `output_type`, or the JSON value given to FINAL."""
    sources: tuple[Citation, ...] = ()
    """The words of the data that the answer was said to rest on, each with where the data has them."""
    limit: str | None = None
    """The cap that was reached, by its name in `Budget`."""
    error: Exception | None = field(default=None, compare=False)
    """What `raise_for_status` raises."""
    usage: RunUsage = field(default_factory=RunUsage)
    cost_usd: float | None = None
    """None where a price is unknown, never 0 for it."""
    duration_s: float = 0.0

    @property
    def success(self) -> bool:
        """True only when the completion came to its own end."""
        return self.status == "completed"

    def raise_for_status(self) -> Self:
        """Return self if completed.

        Raises:
            LimitReached: a cap was reached; the subclass says which.
            RLMError: the run failed.
        """
        if self.error is not None and not self.success:
            raise self.error
        return self

    def masked(self, masker: Masker | None) -> Self:
        """The outcome as it leaves the runtime; a value of the user's own type is left as it is."""
        if masker is None:
            return self
        return replace(
            self,
            response=masker.mask(self.response),
            value=masker.mask_value(self.value),
            sources=change_texts(self.sources, masker.mask),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RLMResult(Outcome[V_co]):
    """The outcome of a run, and where its record is."""

    run_id: str
    trajectory: Path | None = None
    warnings: tuple[str, ...] = ()
    """What the user should know of the run though it went on: files left out, tools out of reach, failed sub-calls."""

    @classmethod
    def of(cls, outcome: Outcome, run_id: str, trajectory: Path, warnings: Iterable[str] = ()) -> RLMResult:
        """The outcome of the root as the result of its run."""
        ended = {each.name: getattr(outcome, each.name) for each in fields(outcome)}
        return cls(**ended, run_id=run_id, trajectory=trajectory, warnings=tuple(warnings))


def masked_cell(result: ExecResult, masker: Masker | None) -> ExecResult:
    """The result of a cell as it leaves the runtime: secrets masked in its output, error and final value."""
    if masker is None:
        return result
    output, error = masker.mask(result.output), change_texts(result.error, masker.mask)
    final = result.final
    if final is not None:
        sources = change_texts(final.sources, masker.mask)
        final = replace(final, value=masker.mask_value(final.value), text=masker.mask(final.text), sources=sources)
    return replace(result, output=output, error=error, final=final)
