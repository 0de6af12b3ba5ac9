"""Performs one operation for a caller: checks the right, plans in place or in a worker, then writes.

Code that may be killed plans an edit; the host writes it, and nothing interrupts that.
"""

from __future__ import annotations

from contextlib import nullcontext
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
from rlm.helpers.journal_folder import JournalFolder
from rlm.helpers.labels import require_no_labels
from rlm.helpers.operation_table import find
from rlm.helpers.protected import import_folders, require_harmless
from rlm.helpers.recovery import recover
from rlm.helpers.rights import Right, require
from rlm.helpers.safe_files import Files
from rlm.helpers.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.core.types import Json
    from rlm.helpers.operation import Operation


class WorkspaceForm(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace in the form in which a worker gets it."""

    roots: list[str]
    rights: list[Right]
    journal: str
    spared: list[str]
    environ: dict[str, str]
    imports: list[str]
    """The folders in or above it from which the host imports modules."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a plan: facts, and the journal's entry that is still to be committed, if any."""

    facts: Any
    entry: str | None = None


def perform(work: Workspace, name: str, arguments: Mapping[str, Any]) -> Json:
    """Perform an operation in this process and return its facts.

    Raises:
        ToolError: the operation was refused or failed; nothing is half written.
    """
    recover(work)
    planned = plan(work, find(name), arguments)
    return commit(work, planned)


def plan(
    work: Workspace,
    operation: Operation,
    arguments: Mapping[str, Any],
    check: Callable[[Edit], None] = lambda _edit: None,
) -> Planned:
    """Do everything except the writing; `check` raises if an edit must not be made. Call `recover` before.

    Raises:
        ToolError: the operation was refused or failed.
    """
    name = operation.name
    require(work.rights, operation.right, name)
    given = operation.tool.convert(arguments)
    rollbacks = JournalFolder.of(work).rollbacks() if work.journal else 0
    with UndoJournal(work).held() if work.journal and operation.right == "git" else nullcontext():
        done = _done(work, operation, given)
    if not isinstance(done, Edit):
        return Planned(facts=done)
    _require_unspared(work, done)
    if "labels" not in work.rights and not done.from_files:
        require_no_labels(done)
    check(done)
    if done.dry_run:
        JournalFolder.of(work).foresee()
        Files(work.confined).foresee(done.changes)
        return Planned(facts=preview(done))
    if not done.changes:
        return Planned(facts=dict(done.facts))
    return Planned(facts=dict(done.facts), entry=UndoJournal(work).stage(done, rollbacks))


def _done(work: Workspace, operation: Operation, arguments: Mapping[str, Any]) -> Json | Edit:
    try:
        return operation(work, **arguments)
    except (RLMError, MemoryError, RecursionError):
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or error  # without the host's path that an OSError has
        raise ToolError(f"{operation.name} failed: {type(error).__name__}: {reason}") from error


def _require_unspared(work: Workspace, edit: Edit) -> None:
    """Check that an edit doesn't touch what the runtime keeps for itself.

    Raises:
        ToolError: it does.
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
    """Call `plan` in a worker; takes the fields of a `WorkspaceForm` and returns those of a `Planned`.

    Raises:
        ToolError: see `plan`.
    """
    given = msgspec.convert(work, WorkspaceForm)
    check = partial(require_harmless, folders=[*map(Path, given.imports)])
    planned = plan(workspace_of(given), find(name), arguments, check)
    return {"facts": change_texts(planned.facts, escape_surrogates), "entry": planned.entry}


def workspace_of(given: WorkspaceForm) -> Workspace:
    """The workspace that a `WorkspaceForm` describes.

    Raises:
        ToolError: one of its folders is gone.
    """
    try:
        confined = Confined(given.roots)
    except ConfigError as error:
        raise ToolError("a folder that helpers work in no longer exists.") from error
    return Workspace(
        confined=confined,
        rights=frozenset(given.rights),
        journal=given.journal,
        spared=tuple(map(Path, given.spared)),
        environ=given.environ,
    )


def told(work: Workspace) -> dict[str, Json]:
    """The fields of a workspace's `WorkspaceForm`, for `plan_in_worker`."""
    roots: list[Json] = [str(root) for root in work.confined.roots]
    rights: list[Json] = [*sorted(work.rights)]
    spared: list[Json] = [str(path) for path in work.spared]
    imports: list[Json] = [str(path) for path in import_folders(work.confined.roots)]
    return {
        "roots": roots, "rights": rights, "journal": work.journal, "spared": spared, "environ": {**work.environ},
        "imports": imports,
    }  # fmt: skip
