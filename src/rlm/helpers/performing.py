"""Performs one operation for a caller: checks the right, plans in place or in a worker, then writes.

The plan of an edit is made by code that may be killed; the writing is done by the host, which is not interrupted in it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.exceptions import ConfigError, RLMError, ToolError
from rlm.core.paths import Confined, shown
from rlm.core.texts import change_texts, escape_surrogates
from rlm.helpers.changes import Edit
from rlm.helpers.diffs import preview
from rlm.helpers.journal import UndoJournal
from rlm.helpers.operation_table import find
from rlm.helpers.protected import import_folders, require_harmless
from rlm.helpers.rights import Right, require
from rlm.helpers.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.core.types import Json
    from rlm.helpers.operation import Operation


class WorkspaceForm(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace as a worker is told of it."""

    roots: list[str]
    rights: list[Right]
    journal: str
    spared: list[str]
    environ: dict[str, str]
    imports: list[str]
    """Folders of it that the host imports modules from."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation came to: facts, and the entry of the journal that is still to be committed."""

    facts: Any
    entry: str | None = None


def perform(work: Workspace, name: str, arguments: Mapping[str, Any]) -> Json:
    """Do it here and now.

    Raises:
        ToolError: it is refused or failed; nothing is half written.
    """
    planned = plan(work, find(name), arguments)
    return commit(work, planned)


def plan(
    work: Workspace,
    operation: Operation,
    arguments: Mapping[str, Any],
    check: Callable[[Edit], None] = lambda _edit: None,
) -> Planned:
    """Do all but the writing; `check` lets an edit pass, or raises.

    Raises:
        ToolError: it is refused or failed.
    """
    name = operation.name
    require(work.rights, operation.right, name)
    done = _done(work, operation, operation.tool.convert(arguments))
    if not isinstance(done, Edit):
        return Planned(facts=done)
    _require_unspared(work, done)
    check(done)
    if done.dry_run:
        return Planned(facts=preview(done))
    if not done.changes:
        return Planned(facts=dict(done.facts))
    return Planned(facts=dict(done.facts), entry=UndoJournal(work).stage(done))


def _done(work: Workspace, operation: Operation, arguments: Mapping[str, Any]) -> Json | Edit:
    try:
        return operation(work, **arguments)
    except (RLMError, MemoryError, RecursionError):
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or error  # no path of the host's, as a whole OSError would have
        raise ToolError(f"{operation.name} failed: {type(error).__name__}: {reason}") from error


def _require_unspared(work: Workspace, edit: Edit) -> None:
    """Let an edit pass that leaves alone what the runtime keeps for itself.

    Raises:
        ToolError: it does not.
    """
    for change in edit.changes:
        if any(change.place.path.is_relative_to(path) for path in work.spared):
            raise ToolError(f"{shown(change.name)} is the runtime's own (its records, settings or state): left alone.")


def commit(work: Workspace, planned: Planned) -> Json:
    """Write what was planned and return the facts.

    Raises:
        ToolError: a file changed meanwhile, or can't be written; nothing was changed.
    """
    if planned.entry is not None:
        UndoJournal(work).commit(planned.entry)
    facts: Json = planned.facts
    return facts


def plan_in_worker(work: dict[str, Any], name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """`plan`, as a worker is asked for it: with the fields of `WorkspaceForm`; returns those of `Planned`.

    Raises:
        ToolError: as `plan`.
    """
    given = msgspec.convert(work, WorkspaceForm)
    check = partial(require_harmless, folders=[*map(Path, given.imports)])
    planned = plan(workspace_of(given), find(name), arguments, check)
    return {"facts": change_texts(planned.facts, escape_surrogates), "entry": planned.entry}


def workspace_of(given: WorkspaceForm) -> Workspace:
    """The workspace that was told of.

    Raises:
        ToolError: a folder of it is gone.
    """
    try:
        confined = Confined(given.roots)
    except ConfigError as error:
        raise ToolError("a folder that helpers work in is not there any more.") from error
    return Workspace(
        confined=confined,
        rights=frozenset(given.rights),
        journal=given.journal,
        spared=tuple(map(Path, given.spared)),
        environ=given.environ,
    )


def told(work: Workspace) -> dict[str, Json]:
    """A workspace as `plan_in_worker` takes it."""
    roots: list[Json] = [str(root) for root in work.confined.roots]
    rights: list[Json] = [*sorted(work.rights)]
    spared: list[Json] = [str(path) for path in work.spared]
    imports: list[Json] = [str(path) for path in import_folders(work.confined.roots)]
    return {
        "roots": roots, "rights": rights, "journal": work.journal, "spared": spared, "environ": {**work.environ},
        "imports": imports,
    }  # fmt: skip
