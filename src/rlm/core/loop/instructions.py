"""Writes the first two messages of a completion: how to work here, and the task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rlm.core import prompts
from rlm.core.calls.model import part_chars
from rlm.core.fields import shown_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.dialects import Dialect
    from rlm.core.run import Run, Task
    from rlm.core.types import Traits

MAX_KEPT_SHOWN = 40
"""How many variables of a session the model is told by name."""

_KINDS = {
    "none": "None, for there is no data with this task.",
    "text": "a str.",
    "files": "a dict, relative path -> text of the file.",
    "value": "a Python value (list, dict, ...), parsed already: `for item in context`, not `json.loads(context)`.",
}


_TABLES = "tables."


def system_prompt(run: Run, task: Task, dialect: Dialect) -> str:
    """How to work: the REPL, its functions, how to reply, the limits."""
    return prompts.render(
        "system",
        part_chars=f"{part_chars(run):,}",
        context_kind=_KINDS[task.context.kind],
        recursion=prompts.render("recursion") if task.scope.ledger.depth < run.config.budget.max_depth else "",
        guest_tools="\n".join(_offered(run, task)),
        cell_timeout_s=f"{run.config.cell_timeout_s:g}",
        sandbox="\n".join(_lacks(run.sandbox.traits)),
        dialect=prompts.render(f"dialect_{dialect.name}"),
        limits=_limits(run),
    )


def task_prompt(task: Task) -> str:
    """The task, what the context is, and the form of the answer."""
    text = prompts.render("task", prompt=task.prompt, context=task.context.describe())
    if task.validator is None:
        return text
    return text + "\n\n" + prompts.render("output", schema=json.dumps(task.validator.schema))


def _offered(run: Run, task: Task) -> Iterator[str]:
    """What cells may call beside what every REPL has."""
    yield from (*_cite(run, task), *_guest_tools(run), *_helpers(run), *_tables(run), *_kept(run, task))


def _cite(run: Run, task: Task) -> Iterator[str]:
    """How an answer is given with its sources, where they are asked for: of the root."""
    if run.config.cite and task.context.kind != "none" and task.scope.ledger.depth == 0:
        yield prompts.render("cite").rstrip("\n")


def _guest_tools(run: Run) -> Iterator[str]:
    for name in run.guest_tools:
        spec = run.tools.get(name).spec
        parameters = ", ".join(spec.parameters.get("properties", {}))
        yield f"- `{name}({parameters})`: {spec.description}"


def _helpers(run: Run) -> Iterator[str]:
    """The operations that are allowed, an object a line."""
    calls: dict[str, list[str]] = {}
    for tool in run.helpers.allowed() if run.helpers is not None else ():
        name, parameters = tool.spec.name, ", ".join(tool.spec.parameters.get("properties", {}))
        if name.startswith(_TABLES):
            continue
        calls.setdefault(name.partition(".")[0], []).append(f"`{name}({parameters})`")
    if calls:
        rights = ", ".join(run.config.helper_rights)
        yield prompts.render("helpers", rights=rights, calls="\n".join(f"  - {', '.join(c)}" for c in calls.values()))


def _tables(run: Run) -> Iterator[str]:
    """What asks tables, where there are some."""
    tools = [tool.spec for tool in run.helpers.allowed() if tool.spec.name.startswith(_TABLES)] if run.helpers else []
    calls = [
        f"  - `{spec.name}({', '.join(spec.parameters.get('properties', {}))})`: {spec.description}" for spec in tools
    ]
    if calls:
        yield prompts.render("tables", calls="\n".join(calls))


def _kept(run: Run, task: Task) -> Iterator[str]:
    """What the root finds of an earlier run of its session."""
    if run.kept_names and task.scope.ledger.depth == 0:
        some, more = run.kept_names[:MAX_KEPT_SHOWN], len(run.kept_names) - MAX_KEPT_SHOWN
        rest = f" and {more} more (SHOW_VARS() lists all)" if more > 0 else ""
        yield f"- From before there are: {', '.join(f'`{name}`' for name in some)}{rest}."


def _lacks(traits: Traits) -> Iterator[str]:
    """What ordinary Python has and this sandbox has not."""
    if traits.policy:
        yield (
            "- Ordinary Python and its data modules (re, json, csv, collections, itertools, statistics, datetime, ...) "
            "work; os, sys, open, exec, eval and names with double underscores do not."
        )
    if traits.packages:
        yield f"- Packages that may be imported: {', '.join(traits.packages)}."
    if not traits.threads:
        yield "- Python can't start threads here; the batched functions ask side by side all the same."


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
    return ", ".join(f"{shown_number(cap)} {name}" for name, cap in caps.items() if cap is not None) + "."
