"""Makes a batch ready: all that can be refused is refused here, before anything is asked and anything is spent."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.exceptions import ConfigError
from rlm.jobs.batch.batch import Batch, BatchCaps, BatchPlan
from rlm.jobs.batch.control import BatchControl
from rlm.jobs.batch.folder import FORMATS, BatchFolder, BatchManifest
from rlm.jobs.batch.outputs import check_format
from rlm.jobs.batch.questions import Columns, Questions
from rlm.jobs.batch.template import Template
from rlm.jobs.engines.cluster.engine import ClusterEngine
from rlm.jobs.engines.local import LocalEngine
from rlm.runtime.models import BackendPool
from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rlm.core.config import Config
    from rlm.core.interfaces import Backend
    from rlm.jobs.batch.batch import BatchReport, BatchStatus

CONCURRENCY = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """What a batch is asked, as its user gives it."""

    questions: Path
    """A file of JSON lines or CSV; one row is one question."""
    out: Path
    """The folder of the batch."""
    prompt: str | None = None
    """The prompt of every row, with columns in braces; None: each row has one of its own."""
    columns: Columns = field(default_factory=Columns)
    files: tuple[Path, ...] = ()
    """Files that every question is about."""
    output_schema: Any = None
    """A JSON schema that every answer must fit."""
    format: str | None = None
    """Of the outputs: jsonl (also where it is None), csv or parquet."""
    caps: BatchCaps = field(default_factory=BatchCaps)
    concurrency: int = CONCURRENCY
    engine: str = "local"
    """What makes the runs: local (this process), or ray (the workers of a cluster)."""
    address: str | None = None
    """With ray: the address of the cluster, as Ray writes it; None: one of this machine alone."""
    resume: bool = False
    retry_failed: bool = False
    """Ask those once more that came to no answer; with `resume`."""


async def run_batch(
    request: BatchRequest,
    config: Config,
    *,
    backend: Backend | None = None,
    watch: Callable[[BatchStatus], object] | None = None,
) -> BatchReport:
    """Ask all questions, or what is left of them, under these settings; `backend` serves every model.

    Raises:
        ConfigError: something is wrong; nothing was asked.
        RLMError: there is no model, or no sandbox; nothing was asked.
    """
    async with opened(request, config, backend=backend, watch=watch) as batch:
        return await batch.run()


@asynccontextmanager
async def opened(
    request: BatchRequest,
    config: Config,
    *,
    backend: Backend | None = None,
    watch: Callable[[BatchStatus], object] | None = None,
) -> AsyncIterator[Batch]:
    """A batch that is ready to run, and alone in its folder.

    Raises:
        RLMError: as `run_batch`.
    """
    if request.concurrency < 1:
        raise ConfigError("--concurrency has to be at least 1")
    if request.retry_failed and not request.resume:
        raise ConfigError("--retry-failed goes with --resume: it asks again what a batch got no answer to")
    folder = BatchFolder(request.out)
    if request.resume:
        folder.read()
    elif folder.exists:
        raise ConfigError(f"there is a batch in {folder.path} already\n--resume goes on with it")
    backends = BackendPool(backend)
    engine = _engine(request, config, backends)
    try:
        await engine.prepare(_capped(_recorded(config, folder), request.caps))
        with folder.held():
            manifest, questions = _resumed(request, folder) if request.resume else _begun(request, folder, config)
            plan = BatchPlan(
                folder=folder,
                manifest=manifest,
                questions=questions,
                config=msgspec.structs.replace(config, session=None, log_dir=manifest.log_dir),
                caps=request.caps,
                concurrency=request.concurrency,
                backends=backends,
                is_resumed=request.resume,
                retry_failed=request.retry_failed,
            )
            batch = Batch(plan, engine, watch)
            await engine.live.listen()
            with engine.live.listed(BatchControl(batch)):
                yield batch
    finally:
        await engine.aclose()


def _recorded(config: Config, folder: BatchFolder) -> Config:
    """The settings with a folder for the records: as it was, as configured, or beside the answers."""
    if folder.exists:
        return msgspec.structs.replace(config, log_dir=folder.read().log_dir)
    log_dir = Path(config.log_dir) if config.log_dir else folder.path / "runs"
    return msgspec.structs.replace(config, log_dir=str(log_dir.absolute()))


def _engine(request: BatchRequest, config: Config, backends: BackendPool) -> LocalEngine | ClusterEngine:
    if request.engine == "local" and request.address is None:
        return LocalEngine(backends, max_running=request.concurrency)
    if request.engine != "ray":
        raise ConfigError(f"--engine: expected local or ray (which alone has an --address), got {request.engine!r}")
    if request.address is not None and config.log_dir is None:
        raise ConfigError("on a cluster every node has to see the records: name a folder that all share, --log-dir DIR")
    return ClusterEngine(request.address, max_running=request.concurrency)


def _capped(config: Config, caps: BatchCaps) -> Config:
    """The settings with a cap on money where the batch has one: what the models cost has to be known for either."""
    cost_budget_usd = config.budget.cost_budget_usd if caps.cost_budget_usd is None else caps.cost_budget_usd
    return msgspec.structs.replace(
        config, budget=msgspec.structs.replace(config.budget, cost_budget_usd=cost_budget_usd)
    )


def _begun(request: BatchRequest, folder: BatchFolder, config: Config) -> tuple[BatchManifest, Questions]:
    form = request.format or FORMATS[0]
    if form not in FORMATS:
        raise ConfigError(f"--format: expected one of {', '.join(FORMATS)}, got {form!r}")
    check_format(form)
    questions = Questions(
        path=request.questions,
        template=None if request.prompt is None else Template(request.prompt),
        columns=request.columns,
        shared=request.files,
    )
    digest, count = questions.digest(), questions.check()
    manifest = BatchManifest(
        rlm_version=__version__,
        id=os.urandom(16).hex(),
        created_at=time.time(),
        questions=str(request.questions.absolute()),
        digest=digest,
        count=count,
        prompt=request.prompt,
        columns=asdict(request.columns),
        shared=[str(path.absolute()) for path in request.files],
        output_schema=request.output_schema,
        format=form,
        log_dir=_recorded(config, folder).log_dir or "",
        model=config.model,
        environment=config.environment,
    )
    folder.begin(manifest)
    return manifest, questions


def _resumed(request: BatchRequest, folder: BatchFolder) -> tuple[BatchManifest, Questions]:
    """The batch as it was begun; what is given once more has to be the same."""
    manifest = folder.read()
    for option, given, was in (
        ("--prompt", request.prompt, manifest.prompt),
        ("--output-schema", request.output_schema, manifest.output_schema),
        ("--format", request.format, manifest.format),
    ):
        if given is not None and given != was:
            raise ConfigError(f"{option}: the batch in {folder.path} was begun with another: {was}")
    check_format(manifest.format)
    questions = Questions(
        path=request.questions,
        template=None if manifest.prompt is None else Template(manifest.prompt),
        columns=Columns(**manifest.columns),
        shared=tuple(map(Path, manifest.shared)),
    )
    if questions.digest() != manifest.digest:
        raise ConfigError(
            f"{request.questions} is not the file that the batch in {folder.path} was begun with\n"
            "give that one, or begin another batch: --out FOLDER"
        )
    return manifest, questions
