"""What a batch costs above its runs: its rate beside that of bare completions, its memory, and how soon it begins."""

from __future__ import annotations

import asyncio
import json
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure
from rlm import RLM
from rlm.backends.scripted import ScriptedBackend
from rlm.core.config import Config
from rlm.jobs.batch.batch import BatchStatus
from rlm.jobs.batch.planning import BatchRequest, run_batch

RUNS, AT_ONCE = 10_000, 16
TIMES_BARE, FIRST_S, MEMORY_MB = 1 / 0.85, 1.0, 300.0


def batch_runs(runs: int = RUNS) -> list[Figure]:
    """10,000 answers of a model without latency, by bare `acompletion` and by a batch, sixteen at a time. What is
    compared is processor time, which other processes don't lengthen: the two are measured one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        bare_s = asyncio.run(_bare_s(Path(folder) / "bare", runs))
        batch_s, first_s = asyncio.run(_batch_s(Path(folder), runs))
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Figure(name="batch: bare completions (processor)", value=1e3 * bare_s / runs, unit="ms"),
        Figure(name="batch: a question (processor)", value=1e3 * batch_s / runs, unit="ms"),
        Figure(name="batch: a question, over a bare completion", value=batch_s / bare_s, unit="x", limit=TIMES_BARE),
        Figure(name="batch: the first result", value=first_s, unit="s", limit=FIRST_S),
        Figure(name="batch: memory of the process", value=memory_mb, unit="MB", limit=MEMORY_MB),
    ]


def _backend() -> ScriptedBackend:
    backend = ScriptedBackend(lambda _request: "done")
    backend.requests = _Forgetful()
    return backend


class _Forgetful(list):  # type: ignore[type-arg]
    """A list that keeps nothing: what a fake notes of its requests is no memory of a batch."""

    def append(self, _item: object) -> None:
        """Forget it."""


async def _bare_s(folder: Path, runs: int) -> float:
    config = Config(model="scripted/m", environment="local", log_dir=str(folder))
    async with RLM(_backend(), config=config) as rlm:
        await rlm.acompletion("number 0")
        numbers = iter(range(runs))

        async def some() -> None:
            for number in numbers:
                (await rlm.acompletion(f"number {number}")).raise_for_status()

        begin = time.process_time()
        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        return time.process_time() - begin


async def _batch_s(folder: Path, runs: int) -> tuple[float, float]:
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps({"n": number}) + "\n" for number in range(runs)))
    request = BatchRequest(questions=questions, out=folder / "out", prompt="number {n}", concurrency=AT_ONCE)
    first: list[float] = []
    begin, begin_cpu = time.perf_counter(), time.process_time()

    def watch(_status: BatchStatus) -> None:
        first[:] = first or [time.perf_counter() - begin]

    config = Config(model="scripted/m", environment="local")
    report = await run_batch(request, config, backend=_backend(), watch=watch)
    whole_s = time.process_time() - begin_cpu
    if report.status.completed != runs:
        raise RuntimeError(f"{report.status.failed} of {runs} failed: {report.stopped}")
    return whole_s, first[0]
