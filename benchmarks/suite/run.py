"""Runs the suite through the real loop and the real local sandbox, and says how many tasks landed on their answer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import get_args

from benchmarks.suite.noise import SHARE, NoisyModel
from benchmarks.suite.policy import Policy, sub_model
from benchmarks.suite.speech import DialectName
from benchmarks.suite.tasks import Task
from rlm import RLM, Config, RLMResult
from rlm.backends.scripted import Script, ScriptedBackend
from rlm.core.types import ModelReply, ModelRequest, ModelTraits

DIALECTS: tuple[DialectName, ...] = get_args(DialectName)


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One task as one model did it."""

    task: Task
    dialect: DialectName
    result: RLMResult

    @property
    def landed(self) -> bool:
        return self.result.success and self.task.accepts(self.result.response)

    @property
    def ending(self) -> str:
        """How it ended, in a word or two."""
        if self.landed:
            return "landed"
        error = type(self.result.error).__name__
        return "wrong" if self.result.success else f"{self.result.status} {self.result.limit or error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What to spoil replies with."""

    kinds: tuple[str, ...] = ()
    share: float = SHARE
    seed: int = 0


class Stage:
    """An RLM per dialect, kept warm over all tasks; one task at a time is played on it."""

    def __init__(self, folder: str) -> None:
        self._model: NoisyModel | None = None
        self._rlms = {dialect: self._rlm(dialect, folder) for dialect in DIALECTS}

    def play(self, task: Task, dialect: DialectName, noise: Noise) -> Try:
        """Have a noisy model do `task`."""
        seed = f"{noise.seed}/{dialect}/{task.name}"
        self._model = NoisyModel(Policy(task), dialect, noise.kinds, seed, noise.share)
        result = self._rlms[dialect].completion(task.prompt, task.context)
        return Try(task=task, dialect=dialect, result=result)

    def close(self) -> None:
        for rlm in self._rlms.values():
            rlm.close()

    def _rlm(self, dialect: DialectName, folder: str) -> RLM:
        script: dict[str, Script] = {"main": self._reply, "sub": sub_model}
        backend = ScriptedBackend(script, traits=ModelTraits(native_tools=dialect == "tools"))
        return RLM(backend, config=Config(log_dir=folder, model="main", sub_model="sub"))

    def _reply(self, request: ModelRequest) -> ModelReply:
        assert self._model is not None
        return self._model(request)


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage with a log folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        opened = Stage(folder)
        try:
            yield opened
        finally:
            opened.close()


def by_turns(tasks: Sequence[Task]) -> list[tuple[Task, DialectName]]:
    """Each task once, in one dialect and the other by turns."""
    return [(task, DIALECTS[number % len(DIALECTS)]) for number, task in enumerate(tasks)]


def in_both(tasks: Sequence[Task]) -> list[tuple[Task, DialectName]]:
    """Each task in each dialect."""
    return [(task, dialect) for dialect in DIALECTS for task in tasks]


def share_landed(tries: Sequence[Try]) -> float:
    return sum(each.landed for each in tries) / len(tries)
