"""Writes the first two messages of a completion: how to work here, and the task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rlm.core import prompts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.dialects import Dialect
    from rlm.core.run import Run, Task

_KINDS = {
    "none": "None, for there is no data with this task.",
    "text": "a str.",
    "files": "a dict, relative path -> text of the file.",
    "value": "a Python value (list, dict, ...).",
}


def system_prompt(run: Run, task: Task, dialect: Dialect) -> str:
    """How to work: the REPL, its functions, how to reply, the limits."""
    return prompts.render(
        "system",
        context_kind=_KINDS[task.context.kind],
        recursion=prompts.render("recursion") if task.ledger.depth < run.config.budget.max_depth else "",
        guest_tools="\n".join(_guest_tools(run)),
        cell_timeout_s=f"{run.config.cell_timeout_s:g}",
        policy=_policy(run),
        dialect=prompts.render(f"dialect_{dialect.name}"),
        limits=_limits(run),
    )


def task_prompt(task: Task) -> str:
    """The task, what the context is, and the form of the answer."""
    text = prompts.render("task", prompt=task.prompt, context=task.context.describe())
    if task.validator is None:
        return text
    return text + "\n\n" + prompts.render("output", schema=json.dumps(task.validator.schema))


def _guest_tools(run: Run) -> Iterator[str]:
    for name in run.guest_tools:
        spec = run.tools.get(name).spec
        parameters = ", ".join(spec.parameters.get("properties", {}))
        yield f"- `{name}({parameters})`: {spec.description}"


def _policy(run: Run) -> str:
    if not run.sandbox.traits.policy:
        return ""
    return (
        "- Ordinary Python and its data modules (re, json, csv, collections, itertools, statistics, datetime, ...) "
        "work; os, sys, open, exec, eval and names with double underscores do not."
    )


def _limits(run: Run) -> str:
    budget = run.config.budget
    caps = {
        "turns": budget.max_turns,
        "tokens": budget.token_budget,
        "US dollars": budget.cost_budget_usd,
        "sub-calls": budget.subcall_budget,
        "tool calls": budget.tool_budget,
        "seconds": budget.timeout_s,
    }
    return ", ".join(f"{cap:,g} {name}" for name, cap in caps.items() if cap is not None) + "."
