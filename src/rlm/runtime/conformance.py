"""Tries a model in a few cheap runs: which dialect it follows, whether it makes sub-calls in a batch, and whether it
ends with a typed answer.

The runs are real ones, under a small budget of their own, so what they show is what a run would meet. Their records go
to a folder that the caller names.
"""

from __future__ import annotations

import random
import re
from contextlib import ExitStack
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
    from collections.abc import Callable, Sequence

    from rlm.core.config import Config
    from rlm.core.events import Event
    from rlm.core.interfaces import Backend
    from rlm.core.outcome import RLMResult

BUDGET = Budget(max_turns=6, token_budget=60_000, subcall_budget=10, timeout_s=180.0, max_depth=0)
"""The budget of each trial; a model that follows instructions needs a small part of it."""
DIALECTS = ("tools", "code")
_WORDS = ("amber", "birch", "cedar")
_RECORDS = 4_000
_ITEMS = 300
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
class _Question:
    """A question that code answers, and the number that is right."""

    prompt: str
    context: Any
    answer: int

    def is_right(self, result: RLMResult) -> bool:
        """Whether a run gave that number."""
        said = _SEPARATOR.sub("", result.response)
        return result.success and re.search(rf"(?<!\d){self.answer}(?!\d)", said) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Followed:
    """How well a dialect was followed."""

    finding: Finding
    right: int = 0
    """How many questions were answered right."""
    turns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """One run and its events."""

    result: RLMResult
    events: tuple[Event, ...] = field(repr=False)

    @property
    def replies(self) -> list[ModelEnd]:
        """The model's turns that were answered, in order."""
        turns = {e.span for e in self.events if isinstance(e.body, ModelStart) and e.body.purpose == "turn"}
        ends = (event.body for event in self.events if event.span in turns and isinstance(event.body, ModelEnd))
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
        self._runs = ExitStack()
        self._by_dialect: dict[str, tuple[RLM, MemorySink]] = {}
        self._is_reached = False
        """Whether the model has answered, be it that it takes no tools."""

    def run(self) -> Conformance:
        """Make every trial.

        Raises:
            BackendError: the model can't be reached at all.
            ConfigError: it can't be used as configured.
        """
        with self._runs:
            return self._tried()

    def _tried(self) -> Conformance:
        followed = {dialect: self._follows(dialect) for dialect in DIALECTS}
        usable = [dialect for dialect in DIALECTS if followed[dialect].finding.ok]
        best = max(usable, key=lambda name: (followed[name].right, -followed[name].turns), default=None)
        findings = [each.finding for each in followed.values()]
        if best is not None:
            findings += [self._batches(best), self._ends_typed(best)]
        return Conformance(
            model=self._label,
            findings=tuple(findings),
            recommended=self._recommended(best, findings),
            total_tokens=self._total_tokens,
        )

    def _follows(self, dialect: str) -> _Followed:
        """Try the least that a run needs: code over the data in the REPL, then an answer; most have to be right."""
        trials: list[_Trial] = []
        questions, right, name = _questions(), 0, f"dialect {dialect}"
        for question in questions:
            trials.append(self._try(dialect, question.prompt, question.context))
            right += question.is_right(trials[-1].result)
            if isinstance(trials[-1].result.error, ToolsRefusedError):
                break
        problems = "; ".join(dict.fromkeys(trial.problem for trial in trials))
        if dialect == "tools" and not any(reply.tool_calls for trial in trials for reply in trial.replies):
            return _Followed(finding=Finding(name=name, ok=False, detail=f"made no tool call: {problems}"))
        turns, score = sum(trial.result.usage.turns for trial in trials), f"{right} of {len(questions)} right"
        if 2 * right <= len(questions):
            return _Followed(finding=Finding(name=name, ok=False, detail=f"{score}: {problems}"))
        finding = Finding(name=name, ok=True, detail=f"{score} in {turns} turns{_habit(trials)}")
        return _Followed(finding=finding, right=right, turns=turns)

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
        rlm, sink = self._of(dialect)
        before = len(sink.events)
        result = rlm.completion(prompt, context, output_type=output_type)
        usage = result.usage
        self._total_tokens += usage.input_tokens + usage.output_tokens
        trial = _Trial(result=result, events=tuple(sink.events[before:]))
        self._is_reached |= bool(trial.replies) or isinstance(result.error, ToolsRefusedError)
        if isinstance(result.error, BackendError) and not self._is_reached:
            raise result.error
        return trial

    def _of(self, dialect: str) -> tuple[RLM, MemorySink]:
        """What makes the runs in a dialect, and takes their events."""
        if dialect not in self._by_dialect:
            sink = MemorySink()
            config = msgspec.structs.replace(self._config, dialect=dialect)
            rlm = self._runs.enter_context(RLM(self._model, config=config, sinks=[sink]))
            self._by_dialect[dialect] = rlm, sink
        return self._by_dialect[dialect]

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


def _habit(trials: Sequence[_Trial]) -> str:
    """The habits of the model that cost turns, as text to append; empty without any."""
    replies = [reply for trial in trials for reply in trial.replies]
    shown = [name for name, has in _HABITS if any(has(reply) for reply in replies)]
    return f"; but it {' and '.join(shown)}" if shown else ""


def _questions() -> tuple[_Question, ...]:
    """To count, to find and to add up, each over more than can be read."""
    rng = random.Random(7)  # noqa: S311 - the same data each time, nothing to guess
    words = [rng.choice(_WORDS) for _ in range(_RECORDS)]
    lines = [f"record {number}: {word}" for number, word in enumerate(words)]
    hidden = rng.randrange(1_000, _RECORDS)
    found = [*lines[:hidden], f"record {hidden}: the only elm", *lines[hidden + 1 :]]
    items: list[dict[str, Any]] = [{"wood": rng.choice(_WORDS), "price": rng.randrange(10, 100)} for _ in range(_ITEMS)]
    paid = sum(item["price"] for item in items if item["wood"] == "birch")
    return (
        _Question(
            prompt="How many lines of the context contain the word cedar?",
            context="\n".join(lines),
            answer=words.count("cedar"),
        ),
        _Question(prompt="Which record is the elm? Give its number.", context="\n".join(found), answer=hidden),
        _Question(prompt="What is the sum of the prices of all birch items?", context=items, answer=paid),
    )


def _writes_on(text: str) -> bool:
    blocks, prose = fences.split(text)
    return bool(blocks) and (len(blocks) > 1 or "output" in prose.rpartition("\n\n")[2].lower())


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True
