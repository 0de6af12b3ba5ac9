"""Tries a model in a few cheap runs: which dialect it follows, whether it makes sub-calls in a batch, and whether it
ends with a typed answer.

The runs are real ones, under a small budget of their own, so what they show is what a run would meet. Their records go
to a folder that the caller names.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.budget import Budget
from rlm.core.dialects import fences
from rlm.core.events import ModelEnd, ModelStart
from rlm.core.exceptions import BackendError, ToolsRefusedError
from rlm.runtime.rlm import RLM
from rlm.sinks.memory import MemorySink

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.core.config import Config
    from rlm.core.interfaces import Backend
    from rlm.core.outcome import RLMResult

BUDGET = Budget(max_turns=6, token_budget=60_000, subcall_budget=10, timeout_s=180.0, max_depth=0)
"""The budget of each trial; a model that follows instructions needs a small part of it."""
DIALECTS = ("tools", "code")
_WORDS = ("amber", "birch", "cedar")
_RECORDS = 4_000
_SEPARATOR = re.compile(r"(?<=\d)[,.' _](?=\d{3})")
"""A separator of thousands between two digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one trial showed."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformance:
    """What is known of a model after its trials."""

    model: str
    findings: tuple[Finding, ...]
    recommended: dict[str, Any]
    """Settings for `[rlm]`; empty where the model followed no dialect."""
    total_tokens: int

    @property
    def ok(self) -> bool:
        """Whether the model can be used, in the recommended dialect."""
        return bool(self.recommended)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """One run and its events."""

    result: RLMResult
    sink: MemorySink = field(repr=False)

    @property
    def replies(self) -> list[ModelEnd]:
        """The model's turns that were answered, in order."""
        turns = {e.span for e in self.sink.events if isinstance(e.body, ModelStart) and e.body.purpose == "turn"}
        ends = (event.body for event in self.sink.events if event.span in turns and isinstance(event.body, ModelEnd))
        return [body for body in ends if body.error is None]

    @property
    def problem(self) -> str:
        """Why the run has no answer, or what the answer was."""
        if self.result.success:
            return f"it answered {self.result.response[:80]!r}"
        return f"{self.result.limit or self.result.status}: {self.result.error}"


class Trials:
    """The trials of one model."""

    def __init__(self, model: str | Backend | None, config: Config, log_dir: str) -> None:
        self._model = model
        self._config = msgspec.structs.replace(config, budget=BUDGET, log_dir=log_dir, sub_model=None, cache=False)
        self._total_tokens = 0
        self._is_reached = False
        """Whether the model has answered, be it that it takes no tools."""

    def run(self) -> Conformance:
        """Make every trial.

        Raises:
            BackendError: the model can't be reached at all.
            ConfigError: it can't be used as configured.
        """
        followed = {dialect: self._follows(dialect) for dialect in DIALECTS}
        best = next((dialect for dialect in DIALECTS if followed[dialect].ok), None)
        findings = list(followed.values())
        if best is not None:
            findings += [self._batches(best), self._ends_typed(best)]
        return Conformance(
            model=self._label,
            findings=tuple(findings),
            recommended=self._recommended(best, findings),
            total_tokens=self._total_tokens,
        )

    def _follows(self, dialect: str) -> Finding:
        """Try the least that a run needs: code that counts lines in the REPL, then an answer."""
        rng = random.Random(7)  # noqa: S311 - the same data each time, nothing to guess
        lines = [f"record {number}: {rng.choice(_WORDS)}" for number in range(_RECORDS)]
        expected = sum("cedar" in line for line in lines)
        trial = self._try(dialect, "How many lines of the context contain the word cedar?", "\n".join(lines))
        if dialect == "tools" and not any(reply.tool_calls for reply in trial.replies):
            return Finding(name="dialect tools", ok=False, detail=f"made no tool call: {trial.problem}")
        if not trial.result.success or str(expected) not in _SEPARATOR.sub("", trial.result.response):
            detail = f"did not count {expected} lines: {trial.problem}"
            return Finding(name=f"dialect {dialect}", ok=False, detail=detail)
        habit = _habit(trial)
        turns = trial.result.usage.turns
        return Finding(name=f"dialect {dialect}", ok=True, detail=f"right in {turns} turns{habit}")

    def _batches(self, dialect: str) -> Finding:
        question = (
            "For each word in `context`, ask a language model to reply with that word in upper case, all at once with "
            "llm_query_batched, and answer with the list of replies."
        )
        trial = self._try(dialect, question, list(_WORDS))
        calls = trial.result.usage.subcalls
        ok = trial.result.success and calls >= len(_WORDS)
        return Finding(name="sub-calls", ok=ok, detail=f"{calls} made for {len(_WORDS)} words; {trial.problem}")

    def _ends_typed(self, dialect: str) -> Finding:
        trial = self._try(dialect, "Give the words of `context` sorted backwards.", list(_WORDS), list[str])
        ok = trial.result.value == sorted(_WORDS, reverse=True)
        return Finding(name="typed answers", ok=ok, detail=trial.problem)

    def _try(self, dialect: str, prompt: str, context: Any, output_type: Any = None) -> _Trial:
        sink = MemorySink()
        config = msgspec.structs.replace(self._config, dialect=dialect)
        with RLM(self._model, config=config, sinks=[sink]) as rlm:
            result = rlm.completion(prompt, context, output_type=output_type)
        usage = result.usage
        self._total_tokens += usage.input_tokens + usage.output_tokens
        trial = _Trial(result=result, sink=sink)
        self._is_reached |= bool(trial.replies) or isinstance(result.error, ToolsRefusedError)
        if isinstance(result.error, BackendError) and not self._is_reached:
            raise result.error
        return trial

    @property
    def _label(self) -> str:
        return self._model if isinstance(self._model, str) else self._config.model or "the default model"

    def _recommended(self, best: str | None, findings: list[Finding]) -> dict[str, Any]:
        if best is None:
            return {}
        settings: dict[str, Any] = {"dialect": best}
        if isinstance(self._model, str):
            settings["model"] = self._model
        if any(finding.name == "sub-calls" and not finding.ok for finding in findings):
            settings["max_depth"] = 0
        return settings


_HABITS: tuple[tuple[str, Callable[[ModelEnd], bool]], ...] = (
    ("writes on after its code, as if it had run", lambda reply: _writes_on(reply.text)),
    ("sends calls that are not valid JSON", lambda reply: any(not _is_json(c.arguments) for c in reply.tool_calls)),
    ("is cut off at its output limit", lambda reply: reply.finish == "length"),
)


def _habit(trial: _Trial) -> str:
    """The habits of the model that cost turns, as text to append; empty without any."""
    shown = [name for name, has in _HABITS if any(has(reply) for reply in trial.replies)]
    return f"; but it {' and '.join(shown)}" if shown else ""


def _writes_on(text: str) -> bool:
    blocks, prose = fences.split(text)
    return bool(blocks) and (len(blocks) > 1 or "output" in prose.rpartition("\n\n")[2].lower())


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True
