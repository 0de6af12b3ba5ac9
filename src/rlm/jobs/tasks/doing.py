"""Does a whole task list in this process: on an engine of its own, open to `rlm ctl`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.hooks.approval import ask_terminal
from rlm.jobs.engines.local import LocalEngine
from rlm.jobs.tasks.control import ListControl
from rlm.jobs.tasks.planning import plan_list
from rlm.jobs.tasks.running import ListRun
from rlm.trajectory.places import log_folder
from rlm.trajectory.task_lists import last_of, past_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rlm.core.config import Config
    from rlm.core.interfaces import Sink
    from rlm.hooks.approval import Approver
    from rlm.jobs.tasks.planning import ListPlan
    from rlm.jobs.tasks.values import GivenList, TaskListResult
    from rlm.runtime.models import BackendPool


def plan_of(listed: GivenList, config: Config, *, only: Iterable[str] = (), resume: bool = False) -> ListPlan:
    """The plan of a list from a file, which may have been done before; blocks while it reads records.

    Raises:
        ConfigError: as `plan_list`.
    """
    chosen = tuple(only)
    record = last_of(log_folder(config.log_dir), listed.source) if listed.source and (resume or chosen) else None
    return plan_list(listed, config, None if record is None else past_of(record), only=chosen, resume=resume)


async def do_list(
    plan: ListPlan,
    pool: BackendPool,
    sinks: Iterable[Sink] = (),
    on_begun: Callable[[ListRun], None] = lambda _run: None,
    *,
    run_sinks: tuple[Sink, ...] = (),
    approver: Approver = ask_terminal,
) -> TaskListResult:
    """Do a list. `sinks` get its own events and `run_sinks` those of its runs; `on_begun` is given what may be done
    with it meanwhile, and `approver` asks somebody whether a tool may be called.

    Raises:
        ConfigError: a model of it can't be had.
        RecordError: no record can be written.
    """
    engine = LocalEngine(pool, sinks=run_sinks, approver=approver, max_running=max(plan.listed.tasks.concurrency, 1))
    try:
        run = ListRun(plan, engine, sinks)
        on_begun(run)
        await engine.parts.live.listen()
        with engine.parts.live.listed(ListControl(run), run.cancel):
            return await run.run()
    finally:
        await engine.aclose()
