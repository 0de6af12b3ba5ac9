"""The tools with which a host's model plans and runs task lists. All but `run_task_list` are answered by rules, from
files and records; what is a guess says so."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from mcp.server.mcpserver import Context  # noqa: TC002 (the signatures are read at run time)
from pydantic import Field

from rlm.core.exceptions import ToolError
from rlm.core.plain import one_line
from rlm.jobs.tasks.advice import complexity_of, strategy_of
from rlm.jobs.tasks.doing import do_list, plan_of
from rlm.jobs.tasks.history import as_text, history
from rlm.jobs.tasks.prompts import unclear_in
from rlm.jobs.tasks.reading import check_list, refused, task_list_of
from rlm.jobs.tasks.reporting import lines_of, total_line
from rlm.jobs.tasks.values import GivenList
from rlm.mcp.server.tools import reporting
from rlm.runtime.hooks import hook_rows
from rlm.runtime.models import BackendPool
from rlm.runtime.serving import read_serving, service_folder
from rlm.trajectory.places import log_folder

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.jobs.tasks.values import TaskList
    from rlm.mcp.server.approvals import Approvals

MOST_TASKS = 200
MOST_HISTORY = 200
_ANSWER_CHARS = 2_000

Tasks: TypeAlias = Annotated[
    list[str | dict[str, Any]],
    Field(
        description="Prompts, or objects: id, prompt, needs (ids whose answers it gets as `context`), context (data), "
        "output_type (a JSON schema), validation (a question that a fresh model decides), retries, budget."
    ),
]
Sequential: TypeAlias = Annotated[
    bool | None, Field(description="One after the other. Left out: so for prompts alone, by needs for objects.")
]


class Orchestration:
    """These tools, under one configuration."""

    def __init__(self, config: Config, approvals: Approvals) -> None:
        self._config = config
        self._approvals = approvals

    async def get_task_complexity(
        self,
        task: Annotated[str, Field(description="The prompt of the task.")],
        data_chars: Annotated[int, Field(description="The size of its data, in characters.")] = 0,
    ) -> str:
        """Guess how hard a task is, from its words and the size of its data; no model is asked."""
        found = complexity_of(task, data_chars)
        unclear = "".join(f"\nmay be unclear: {each}" for each in unclear_in(task, has_data=data_chars > 0))
        return (
            f"{found.level}, {found.kind} (a guess by rules, {found.points} points: {', '.join(found.reasons)}); "
            f"its prompt has about {found.tokens:,} tokens{unclear}"
        )

    async def validate_task_list(self, tasks: Tasks, sequential: Sequential = None) -> str:
        """Check a task list and run nothing: every fault at once, and what may be unclear about its prompts."""
        listed = self._listed(tasks, sequential)
        lines = [f"{len(listed.tasks)} tasks, and nothing is wrong with them"]
        for task in listed.tasks:
            has_data = task.context is not None or bool(listed.needed_by(task))
            lines += [f"{task.id} may be unclear: {each}" for each in unclear_in(task.prompt, has_data=has_data)]
        return "\n".join(lines)

    async def suggest_execution_strategy(self, tasks: Tasks, sequential: Sequential = None) -> str:
        """Say in which order a task list would run, what could run side by side, and what should be validated."""
        return strategy_of(self._listed(tasks, sequential))

    async def run_task_list(
        self,
        ctx: Context[Any, Any],
        tasks: Tasks,
        sequential: Sequential = None,
        stop_on_error: Annotated[bool, Field(description="Begin nothing more once a task has failed.")] = False,
    ) -> str:
        """Have the configured model do a task list, each task in a run of its own with a fresh conversation.

        It costs money or quota of that model, within the budget of the configuration for each run. May take long;
        monitor_execution shows it meanwhile, control_execution pauses or cancels it.
        """
        listed = msgspec.structs.replace(self._listed(tasks, sequential), stop_on_error=stop_on_error)
        given = GivenList(tasks=listed, folder=Path.cwd())
        plan = await asyncio.to_thread(plan_of, given, self._config)
        with self._approvals.of(ctx):
            working = asyncio.ensure_future(do_list(plan, BackendPool(), approver=self._approvals.ask))
        await reporting(ctx, working)
        result = working.result()
        answers = [f"== {each.id}: {each.state}\n{_shortened(each.response)}" for each in result if each.response]
        return "\n".join([f"task list {result.id}: {total_line(result)}", *lines_of(result.outcomes), *answers])

    async def get_execution_history(
        self, limit: Annotated[int, Field(description="How many tasks, the newest first.", ge=1, le=MOST_HISTORY)] = 20
    ) -> str:
        """Show the last tasks of this project as JSON: state, run, tokens, cost, time, verdict, first of the answer."""
        rows = await asyncio.to_thread(history, log_folder(self._config.log_dir), limit)
        return as_text(rows, "json") if rows else "No task list was run here."

    async def get_hook_status(self) -> str:
        """Show which hooks are asked during runs and tasks, at which points and with which deadlines."""
        rows = await asyncio.to_thread(hook_rows, self._config.hooks)
        if not rows:
            return "No hooks are configured."
        return "\n".join(f"{row['point']}: {row['name']}, within {row['timeout_s']:g} s" for row in rows)

    async def check_websocket_status(self) -> str:
        """Say whether this user's service runs, and where its WebSocket is."""
        found = await asyncio.to_thread(read_serving, service_folder(os.environ))
        if found is None:
            return "No service runs: rlm serve starts one. Task lists here need none."
        address = found.url.replace("http", "ws", 1)
        return (
            f"A service runs: {found.url}, process {found.pid}; its WebSockets are {address}/ws and {address}/ws/mcp."
        )

    def _listed(self, tasks: list[str | dict[str, Any]], sequential: bool | None) -> TaskList:
        """The list, checked. Over this wire it names no file, no session, and no model but those configured."""
        if len(tasks) > MOST_TASKS:
            raise ToolError(f"a list has at most {MOST_TASKS} tasks here, not {len(tasks)}: see rlm tasks, rlm batch")
        rows = [
            {"id": f"task-{number}", "prompt": each} if isinstance(each, str) else each
            for number, each in enumerate(tasks, 1)
        ]
        are_prompts = all(isinstance(each, str) for each in tasks)
        listed = task_list_of({"tasks": rows, "sequential": are_prompts if sequential is None else sequential})
        found = [fault for task in listed.tasks for fault in self._reaching_out(task)]
        if found:
            raise refused(found)
        check_list(GivenList(tasks=listed, folder=Path.cwd()))
        return listed

    def _reaching_out(self, task: Any) -> list[str]:
        config = self._config
        known = {config.model, config.sub_model, *config.allowed_models, None}
        models = sorted(name for name in known if name is not None)
        found = [f"{task.id}: {name} can't be given here" for name in ("files", "session") if getattr(task, name)]
        if task.is_program:
            found.append(f"{task.id}: executor can't be given here")
        found += [
            f"{task.id}: the model {name!r} is not one of {', '.join(models) or 'those configured'}"
            for name in (task.model, task.validation_model)
            if name not in known
        ]
        caps = msgspec.structs.asdict(config.budget)
        found += [
            f"{task.id}: {name} of {one_line(str(cap), 40)} is above the {caps[name]} of the configuration"
            for name, cap in task.budget.items()
            if name in caps and caps[name] is not None and (cap is None or not _is_at_most(cap, caps[name]))
        ]
        return found


def _is_at_most(cap: Any, most: Any) -> bool:
    if cap == most:
        return True
    return isinstance(cap, int | float) and isinstance(most, int | float) and cap <= most


def _shortened(text: str) -> str:
    if len(text) <= _ANSWER_CHARS:
        return text
    return f"{text[:_ANSWER_CHARS]}\n({len(text):,} characters; the whole answer is in the record)"
