"""Batches for Python: a file of questions, and a run for each. `docs/batch.md` shows how they are used."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rlm.jobs.batch.batch import BatchCaps, BatchReport, BatchStatus
from rlm.jobs.batch.planning import BatchRequest
from rlm.jobs.batch.planning import run_batch as arun_batch
from rlm.jobs.batch.questions import Columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.core.config import Config
    from rlm.core.interfaces import Backend

__all__ = ["BatchCaps", "BatchReport", "BatchRequest", "BatchStatus", "Columns", "arun_batch", "run_batch"]


def run_batch(
    request: BatchRequest,
    config: Config,
    *,
    backend: Backend | None = None,
    watch: Callable[[BatchStatus], object] | None = None,
) -> BatchReport:
    """Ask all questions, or what is left of them; blocks until that is done. See `arun_batch`.

    Raises:
        ConfigError: something is wrong; nothing was asked.
        RLMError: there is no model, or no sandbox; nothing was asked.
    """
    return asyncio.run(arun_batch(request, config, backend=backend, watch=watch))
