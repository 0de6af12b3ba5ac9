"""Changes many Python files one by one, in the same way: what is to be replaced in each, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.edits.python import checked, outline, python_files, refuse_unparsed_file
from rlm.helpers.edits.spans import Unlocatable
from rlm.helpers.facts.parsing import Unparsed
from rlm.helpers.facts.survey import troubles
from rlm.helpers.workspace import Skipped
from rlm.helpers.writing import edit

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterable, Sequence

    from rlm.core.types import Json
    from rlm.helpers.edits.python import PythonFile
    from rlm.helpers.edits.spans import Span
    from rlm.helpers.workspace import Workspace
    from rlm.helpers.writing import Change, Edit

LISTED = 200


@dataclass(kw_only=True)
class Planned:
    """What is to be replaced in one file."""

    spans: list[Span] = field(default_factory=list)
    count: int = 0
    """Of what the operation counts."""
    unsure: list[int] = field(default_factory=list)
    """Lines that its user should look at."""
    gone: set[ast.stmt] = field(default_factory=set)
    """Statements that are taken out; all others stay, by kind and place."""
    adds_statements: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One kind of change, over the files that were asked for."""

    name: str
    counted: str
    """What the facts call the count: `statements_removed`."""
    plan: Callable[[PythonFile], Planned]
    needles: Sequence[bytes]
    """A file is parsed if it has one of these."""

    def apply(self, work: Workspace, path: str, file_pattern: str, *, dry_run: bool) -> Edit:
        """The edit of every file, all or none.

        Raises:
            ToolError: the path is refused, a file can't be changed for certain, or it is one that can't be parsed.
        """
        skipped, unparsed = Skipped(), list[Unparsed]()
        changes: list[Change] = []
        rows: list[Json] = []
        unsure: list[tuple[str, int]] = []
        total = 0
        wanted = lambda _name, content: any(needle in content for needle in self.needles)  # noqa: E731 - shorter than a function
        for file in python_files(work, file_pattern, path, skipped, unparsed, wanted):
            try:
                planned = self._planned(file)
            except RecursionError:
                unparsed.append(Unparsed(file=file.name, error="nested too deep to be looked at"))
                continue
            unsure += [(file.name, line) for line in planned.unsure]
            if planned.spans:
                changes.append(self._change(file, planned))
                rows.append({"file": file.name, self.counted: planned.count})
                total += planned.count
        refuse_unparsed_file(work, path, unparsed)
        facts: dict[str, Json] = {"files_modified": len(changes), self.counted: total, "files": rows[:LISTED]}
        if len(rows) > LISTED:
            facts["files_not_listed"] = len(rows) - LISTED
        return edit(self.name, changes, facts | by_hand(unsure) | troubles(unparsed, skipped), dry_run=dry_run)

    def _planned(self, file: PythonFile) -> Planned:
        try:
            return self.plan(file)
        except Unlocatable as error:
            raise ToolError(f"{self.name}: {file.name}:{error.line}: {error}; nothing was changed.") from error

    def _change(self, file: PythonFile, planned: Planned) -> Change:
        text = file.layout.with_spans(planned.spans)
        after = checked(file, text, self.name)
        if not planned.adds_statements and outline(after) != outline(file.tree, planned.gone):
            raise ToolError(f"{self.name}: {shown(file.name)} is written in a way that can't be changed for certain.")
        return file.source.change(text)


def by_hand(places: Iterable[tuple[str, int]]) -> dict[str, Json]:
    """The files and lines that a user should look at, each once, in order."""
    listed: list[Json] = [f"{file}:{line}" for file, line in sorted(set(places))]
    facts: dict[str, Json] = {"check_by_hand": listed[:LISTED]} if listed else {}
    if len(listed) > LISTED:
        facts["check_by_hand_not_listed"] = len(listed) - LISTED
    return facts
