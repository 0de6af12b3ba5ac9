"""Kills the hosts of runs at random with SIGKILL, up to five times each, resumes them in between, and checks: every run
comes to its end and to the right answer, every record is whole, and no answered call is ever asked again."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import repeat
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.kills.host import Work, work
from benchmarks.kills.model import ANSWER, ModelServer
from benchmarks.kills.watch import PHASES, Watch
from rlm.core.events import CompletionEnd
from rlm.repl import SANDBOXES

FEW = 12
"""How many runs there are beside the other benchmarks."""
MOST_KILLS = 5
_LOOK_S = 0.003
_LONGEST_S = {"turn": 0.1, "sub-call": 0.05, "batch": 0.05, "tool": 0.03, "child": 0.3, "landing": 0.05}
"""How long after a phase has begun the kill comes at the latest."""
_WEIGHTS = (1, 3, 2, 5, 2, 4)
"""How often each phase is aimed at: a short one is missed often, and what is missed is a turn."""
_ANYWHERE = 0.1
"""The share of kills that are aimed at no phase, and come up to a second after the run has begun."""
_ENDS_S = 180.0
"""A process that takes longer hangs."""


@dataclass(kw_only=True)
class Killed:
    """One run, with all that resumed it."""

    name: str
    environment: str
    kills: list[str] = field(default_factory=list)
    """What was under way at each kill."""
    wrong: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Tally:
    """What became of all runs."""

    runs: Counter[str] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, run: Killed) -> None:
        """Count one more run."""
        self.runs[run.environment] += 1
        self.phases.update(run.kills)
        self.wrong += [f"{run.name} in {run.environment}, killed in {run.kills}: {each}" for each in run.wrong]

    def lines(self) -> list[str]:
        """The table."""
        runs = ", ".join(f"{self.runs[name]} in {name}" for name in SANDBOXES)
        phases = ", ".join(f"{self.phases[name]} in {name}" for name in PHASES)
        return [
            f"{self.runs.total()} runs ({runs}), {self.phases.total()} kills ({phases})",
            f"{len(self.wrong)} wrong",
            *self.wrong,
        ]


class Killer:
    """Makes runs and kills them, one at a time."""

    def __init__(self, folder: Path, model: ModelServer) -> None:
        self._folder = folder
        self._model = model
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["benchmarks.kills.host"])

    def run(self, seed: int, environment: str) -> Killed:
        """One run, killed and resumed until it ends."""
        chance = random.Random(seed)
        run = Killed(name=f"run-{seed}", environment=environment)
        folder = self._folder / run.name
        (folder / "logs").mkdir(parents=True)
        wanted = sorted(chance.choices(PHASES, _WEIGHTS, k=chance.randint(1, MOST_KILLS)), key=PHASES.index)
        answered: set[str] = set()
        last: Watch | None = None
        while not run.wrong and (last is None or last.end is None):
            before = self._asked(run, folder)
            resumes = last.path.stem if last is not None and run.kills else None
            last = self._one(run, folder, resumes, chance, wanted) or last
            repeated = {text for text in answered if self._asked(run, folder)[text] > before[text]}
            run.wrong += [f"asked again: {text}" for text in sorted(repeated)]
            if last is not None:
                run.wrong += [] if last.is_whole else [f"{last.path} is not whole"]
                answered |= last.answered
        if last is not None and last.end is not None:
            run.wrong += _faults(last.end, folder / "result.json")
        if not run.wrong:
            shutil.rmtree(folder)
        return run

    def _one(
        self, run: Killed, folder: Path, resumes: str | None, chance: random.Random, wanted: list[str]
    ) -> Watch | None:
        """One process, to its end or to its kill; the record that it wrote."""
        known = set((folder / "logs").glob("*.jsonl"))
        asked = Work(
            folder=folder, environment=run.environment, url=f"{self._model.url}/{run.name}/v1", resumes=resumes
        )
        process = self._processes.Process(target=work, args=(asked,))
        process.start()
        watch = self._watch(process, folder, known, wanted[0] if wanted else "", chance)
        process.join(_ENDS_S)
        if process.is_alive():
            run.wrong.append("it hangs")
            process.kill()
            process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            run.wrong.append(f"exit code {process.exitcode}")
        if watch is not None:
            list(watch.read())
            if process.exitcode == -signal.SIGKILL and watch.has_begun and watch.end is None:
                run.kills.append(watch.phase())
                del wanted[:1]
        return watch

    def _watch(
        self, process: BaseProcess, folder: Path, known: set[Path], wanted: str, chance: random.Random
    ) -> Watch | None:
        """Follow the record until the process is killed in the wanted phase, or has ended."""
        watch: Watch | None = None
        until = time.monotonic() + _ENDS_S
        anywhere = chance.random() < _ANYWHERE
        while process.is_alive() and time.monotonic() < until and not (folder / "result.json").exists():
            if watch is None:
                found = set((folder / "logs").glob("*.jsonl")) - known
                watch = Watch(path=found.pop()) if found else None
            elif wanted:
                phases = list(watch.read())
                if wanted in phases or (anywhere and watch.has_begun):
                    time.sleep(chance.uniform(0.0, 1.0 if anywhere else _LONGEST_S[wanted]))
                    process.kill()
                    break
            time.sleep(_LOOK_S)
        return watch

    def _asked(self, run: Killed, folder: Path) -> Counter[str]:
        """How often each answer was asked for: of the model, and of the tool."""
        called = folder / "tools"
        places = called.read_text().splitlines() if called.exists() else []
        return self._model.asked[run.name] + Counter(f"seen: {place}" for place in places)


def _faults(end: CompletionEnd, path: Path) -> list[str]:
    """What is wrong with the end of a run, and with the replay that its last host made, if it came to that."""
    wrong = [] if (end.limit, end.response) == ("max_turns", ANSWER) else [f"a wrong answer: {end}"]
    differences = json.loads(path.read_text()) if path.exists() else []
    return wrong + [f"a replay differs: {each}" for each in differences]


def kill(count: int, *, first: int = 0, jobs: int = 3, sandboxes: Sequence[str] = tuple(SANDBOXES)) -> Tally:
    """Make `count` runs, in the sandboxes by turns; prints each that goes wrong at once."""
    tally = Tally()
    folder = Path(tempfile.mkdtemp(prefix="rlm-kills-"))
    seeds = range(first, first + count)
    # Processes, not threads: two threads may not both ask what became of the children of one process.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        runs = pool.map(_run, repeat(folder), seeds, (sandboxes[seed % len(sandboxes)] for seed in seeds))
        for done, run in enumerate(runs, 1):
            tally.add(run)
            if run.wrong:
                print(*tally.wrong[-len(run.wrong) :], f"(kept in {folder})", sep="\n", flush=True)
            if done % 25 == 0:
                print(tally.lines()[0], file=sys.stderr, flush=True)
    if not tally.wrong:
        shutil.rmtree(folder)
    return tally


def _run(folder: Path, seed: int, environment: str) -> Killed:
    return _killer(folder).run(seed, environment)


@cache
def _killer(folder: Path) -> Killer:
    """The one of this process."""
    return Killer(folder, ModelServer())


def kills() -> list[Figure]:
    """A few runs, killed and resumed; `python -m benchmarks.kills COUNT` makes as many as wanted."""
    tally = kill(FEW)
    name = f"{FEW} runs killed {tally.phases.total()} times and resumed, repeated calls and wrong answers"
    return [Figure(name=name, value=float(len(tally.wrong)), unit="", limit=0.0)]


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, print, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description="Kill runs, resume them, look.")
    parser.add_argument("count", nargs="?", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--jobs", type=int, default=3, metavar="N", help="how many at one time")
    parser.add_argument("--in", dest="sandboxes", nargs="+", choices=SANDBOXES, default=tuple(SANDBOXES))
    options = parser.parse_args(argv)
    began = time.perf_counter()
    tally = kill(options.count, first=options.first, jobs=options.jobs, sandboxes=options.sandboxes)
    print(*tally.lines(), f"{time.perf_counter() - began:.0f} s", sep="\n")
    return 1 if tally.wrong else 0
