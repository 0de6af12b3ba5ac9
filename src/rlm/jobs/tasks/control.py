"""A task list in progress as `rlm ctl` sees it, beside its runs: it is paused and cancelled as a whole."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from rlm.core.events import Controlled, Warned
from rlm.core.exceptions import ConfigError
from rlm.runtime.control import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.jobs.tasks.running import ListRun
    from rlm.runtime.control import Act


class ListControl:
    """One list in progress; see `Steered`."""

    def __init__(self, run: ListRun) -> None:
        self._run = run
        self.stop: Callable[[], object] | None = run.cancel

    @property
    def id(self) -> str:
        return self._run.id

    def act(self, act: Act) -> None:
        """See `Steered.act`."""
        if act.action not in ("pause", "resume", "cancel") or act.child:
            raise ConfigError(
                f"{self.id[:8]} is a task list, which can be paused, resumed and cancelled\n"
                "name one of its runs for anything else: rlm ctl shows them"
            )
        act = msgspec.structs.replace(act, who=act.who or "somebody")
        self._run.note(Controlled(action=act.action, who=act.who, why=act.why))
        match act.action:
            case "pause":
                self._run.pause(act)
            case "resume":
                self._run.go_on(act)
            case "cancel":
                self._run.cancel()

    def act_if_possible(self, act: Act) -> None:
        """See `Steered.act_if_possible`."""
        try:
            self.act(act)
        except ConfigError as error:
            self._run.note(Warned(message=str(error)))

    def status(self) -> RunStatus:
        """See `Steered.status`: what its runs in progress do is in their own."""
        run, given = self._run, self._run.plan.listed.tasks
        counts = Counter(each.state for each in run.outcomes.values())
        states = [status for submission in run.submissions.values() if (status := submission.status) is not None]
        said = ", ".join(f"{count} {state}" for state, count in counts.items())
        return RunStatus(
            id=run.id,
            state="paused" if run.is_paused else "running",
            pid=os.getpid(),
            prompt=f"task list {given.name or run.plan.listed.source or ''}: {said}",
            model=given.model or run.plan.config.model or "",
            environment=run.plan.config.environment,
            started_at=run.started_at,
            elapsed_s=round(time.time() - run.started_at, 3),
            turns=sum(each.turns for each in states),
            cells=sum(each.cells for each in states),
            model_calls=sum(each.model_calls for each in states),
            subcalls=sum(each.subcalls for each in states),
            tool_calls=sum(each.tool_calls for each in states),
            tokens=sum(each.tokens for each in states) + sum(each.tokens for each in run.outcomes.values()),
            cost_usd=run.cost_usd,
            budget=given.budget,
            waits_for=[f"task {name}" for name in run.submissions],
            children=[],
            record=str(run.record.absolute()),
        )
