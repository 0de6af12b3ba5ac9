"""Rewrites Python files, each in the same way, all or none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.changes import Change, edit
from rlm.helpers.edits.python_files import outline, parsed_again, python_files, refuse_unparsed_file
from rlm.helpers.edits.reports import by_hand, changed
from rlm.helpers.edits.spans import Unlocatable
from rlm.helpers.facts.parsing import TOO_DEEP
from rlm.helpers.facts.unread import Unread

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Container, Iterable, Sequence

    from rlm.helpers.changes import Edit
    from rlm.helpers.edits.python_files import PythonFile
    from rlm.helpers.edits.spans import TextSpan
    from rlm.helpers.workspace import Workspace


@dataclass(slots=True, kw_only=True)
class RewritePlan:
    """The replacements in one file."""

    spans: list[TextSpan] = field(default_factory=list)
    count: int = 0
    """How many of the things that the rewrite counts were changed."""
    unsure: list[int] = field(default_factory=list)
    """The lines that a user should check."""
    gone: set[ast.stmt] = field(default_factory=set)
    """The statements that are removed; all others must keep their kind and place."""
    adds_statements: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """One way to change a file."""

    name: str
    """The name of the operation."""
    counted: str
    """The name of the count in the result: `statements_removed`."""
    plan: Callable[[PythonFile], RewritePlan]
    needles: Sequence[bytes]
    """Only files with one of these are parsed."""
    also: str = ""
    """A file, or a folder, whose files are parsed whether they have one or not."""
    elsewhere: Callable[[Container[str]], Iterable[tuple[str, int]]] = lambda _known: ()
    """The files and lines that a user should check in files of other kinds, without those that were looked at."""

    def edit(self, work: Workspace, path: str, file_pattern: str, *, dry_run: bool) -> Edit:
        """The edit of all files.

        Raises:
            ToolError: the path is refused, a file can't be changed for certain, or the path is a file that can't be
                parsed.
        """
        unread, changes, counts = Unread(), list[Change](), dict[str, int]()
        unsure: list[tuple[str, int]] = []
        looked_at: set[str] = set()
        # A file that was named is always parsed, whatever its content: if it can't be, that is an error.
        is_wanted = _always if work.is_file(path) else self._is_wanted
        for file in python_files(work, file_pattern, path, unread, is_wanted):
            try:
                plan = self._planned(file)
            except RecursionError:
                unread.unparsed.append(TOO_DEEP.of(file.name))
                continue
            looked_at.add(file.name)
            unsure += [(file.name, line) for line in plan.unsure]
            if plan.spans:
                changes.append(self._change(file, plan))
                counts[file.name] = plan.count
        refuse_unparsed_file(work, path, unread)
        unsure += self.elsewhere(looked_at) if changes else ()
        facts = changed(counts, each=self.counted, total=self.counted) | by_hand(unsure) | unread.facts()
        return edit(self.name, changes, facts, dry_run=dry_run)

    def _is_wanted(self, name: str, content: bytes) -> bool:
        if self.also and (name == self.also or name.startswith(f"{self.also}/")):
            return True
        return any(needle in content for needle in self.needles)

    def _planned(self, file: PythonFile) -> RewritePlan:
        try:
            return self.plan(file)
        except Unlocatable as error:
            raise ToolError(f"{self.name}: {file.name}:{error.line}: {error}; nothing was changed.") from error

    def _change(self, file: PythonFile, plan: RewritePlan) -> Change:
        text = file.layout.with_spans(plan.spans)
        after = parsed_again(file, text, self.name)
        if not plan.adds_statements and outline(after) != outline(file.tree, plan.gone):
            raise ToolError(f"{self.name}: {shown(file.name)} is written in a way that can't be changed for certain.")
        return file.source.change(text)


def _always(_name: str, _content: bytes) -> bool:
    return True
