"""Asks a real model tasks with one right answer, and prints how many were right: `python -m benchmarks.real_model
--url http://127.0.0.1:8091/v1 --out trials.jsonl`.

Each trial is a line in `--out` as soon as it is done, and is not made again where it is there already, so that what was
broken off goes on. Trials are made one after the other: a small machine has one model.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.real_model.table import table
from benchmarks.real_model.tasks import Exam, Task, load
from benchmarks.real_model.trials import Setting, Trial, attempt, caps
from benchmarks.real_model.variants import VARIANTS
from rlm import Config
from rlm.core.config import ProviderConfig

DIALECTS = ("code", "tools")


def main(argv: Sequence[str] | None = None) -> int:
    """Make every trial that is asked for, and print the table."""
    options = _options(argv)
    os.environ["OPENAI_BASE_URL"] = options.url
    os.environ.setdefault("OPENAI_API_KEY", "none")
    setting = Setting(
        model=f"openai/{options.model}",
        config=Config(
            budget=caps(options.turns, options.timeout_s),
            max_output_tokens=options.output_tokens,
            temperature=options.temperature,
            advice=not options.no_advice,
            environment=options.environment,
            openai=ProviderConfig(
                first_byte_timeout_s=options.patience_s,
                idle_timeout_s=options.patience_s,
                request_timeout_s=options.patience_s,
            ),
        ),
        log_dir=options.out.with_suffix(".runs"),
    )
    done = list(_done(options.out))
    made = {(trial.variant, trial.dialect, trial.task, trial.seed) for trial in done}
    exam = load(options.tasks)
    for variant, dialect, task, seed in _wanted(options, exam):
        if (variant, dialect, task.name, seed) in made:
            continue
        trial = attempt(setting, exam, task, seed=seed, dialect=dialect, variant=variant)
        done.append(trial)
        with options.out.open("ab") as lines:
            lines.write(trial.line())
        print(f"{variant}, {dialect}, {task.name}, {seed}: {_told(trial)}", file=sys.stderr, flush=True)
    print("\n".join(table(done)))
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_model", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--url", required=True, help="of the server, up to /v1")
    parser.add_argument("--model", default="model", help="its name there")
    parser.add_argument("--out", type=Path, required=True, help="the file of the trials, a line of JSON each")
    parser.add_argument("--tasks", type=Path, help="a Python file with all_tasks(seed); none: the project's own")
    parser.add_argument("--only", nargs="+", default=(), metavar="TASK", help="names of tasks; none: all")
    parser.add_argument("--variants", nargs="+", default=("as it is",), choices=sorted(VARIANTS))
    parser.add_argument("--dialects", nargs="+", default=DIALECTS, choices=DIALECTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--output-tokens", type=int, default=512)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--timeout-s", type=float, help="of each trial; none: as long as it takes")
    parser.add_argument("--patience-s", type=float, default=3_600.0, help="for one reply, of a slow machine too")
    parser.add_argument("--environment", default="auto")
    parser.add_argument("--no-advice", action="store_true")
    return parser.parse_args(argv)


def _wanted(options: argparse.Namespace, exam: Exam) -> Iterator[tuple[str, str, Task, int]]:
    for seed in options.seeds:
        for task in exam.tasks(seed):
            if options.only and task.name not in options.only:
                continue
            for variant in options.variants:
                for dialect in options.dialects:
                    yield variant, dialect, task, seed


def _done(out: Path) -> Iterator[Trial]:
    """The trials that are in the file already."""
    for line in out.read_bytes().splitlines() if out.exists() else ():
        yield msgspec.json.decode(line, type=Trial)


def _told(trial: Trial) -> str:
    end = trial.limit or trial.status
    return (
        f"{'right' if trial.right else 'wrong'}, {end}, {trial.turns} turns, {trial.seconds} s, {trial.answer[:60]!r}"
    )


if __name__ == "__main__":
    sys.exit(main())
