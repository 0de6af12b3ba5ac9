"""`transform.rename_lines`: renames a word in lines that somebody has looked at, such as those of `check_by_hand`."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.changes import Change, edit
from rlm.helpers.edits.identifiers import checked_identifier
from rlm.helpers.edits.python_files import PythonFile, parsed_again
from rlm.helpers.edits.reports import changed
from rlm.helpers.facts.parsing import NotParsed
from rlm.helpers.operation import helper
from rlm.helpers.text_files import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.helpers.changes import Edit
    from rlm.helpers.text_files import SourceText
    from rlm.helpers.workspace import Workspace

_NAME = "transform.rename_lines"
_PYTHON = (".py", ".pyi")


@helper("transform.rename_lines", right="write")
def rename_lines(work: Workspace, places: list[str], old_name: str, new_name: str, dry_run: bool = False) -> Edit:
    """Rename a word in whole lines, as listed by rename_identifier in check_by_hand: take that list, or parts of it.

    Args:
        places: The lines, each "pkg/a.py:12".
        old_name: The word, without a place: every one in these lines is renamed, in strings and comments too.
        new_name: The word as it shall be.
        dry_run: Change nothing and return a diff.
    """
    old = checked_identifier(old_name.rpartition("::")[2].rpartition(".")[2], "old_name")
    new = checked_identifier(new_name, "new_name")
    word = re.compile(rf"(?<!\w){re.escape(old)}(?!\w)")
    changes: list[Change] = []
    counts: dict[str, int] = {}
    for file, lines in _by_file(places).items():
        source = work.source(file)
        python = _as_python(source) if file.endswith(_PYTHON) else None
        text, count = _renamed(source if python is None else python.source, lines, word, new)
        if python is not None:
            parsed_again(python, text, _NAME)
        changes.append((source if python is None else python.source).change(text))
        counts[source.name] = count
    facts = changed(counts, each="replacements", total="total_replacements")
    return edit(_NAME, changes, facts, dry_run=dry_run)


def _by_file(places: Iterable[str]) -> dict[str, set[int]]:
    found: defaultdict[str, set[int]] = defaultdict(set)
    for place in places:
        file, _, line = place.rpartition(":")
        if not file or not line.isdecimal():
            raise ToolError(f'{_NAME}: {shown(place)} is not a line of a file, such as "pkg/a.py:12".')
        found[file].add(int(line))
    if not found:
        raise ToolError(f"{_NAME}: name the lines to change.")
    return found


def _as_python(source: SourceText) -> PythonFile:
    try:
        return PythonFile.of(source)
    except NotParsed as error:
        raise ToolError(f"{_NAME}: {error.of(source.name)}; nothing was changed.") from error


def _renamed(source: SourceText, numbers: Iterable[int], word: re.Pattern[str], new: str) -> tuple[str, int]:
    """The text with the word renamed in some lines, and how often.

    Raises:
        ToolError: a line is not there, or has no such word.
    """
    lines, count = lines_of(source.text), 0
    for number in numbers:
        line = lines[number - 1] if 0 < number <= len(lines) else ""
        changed_line, times = word.subn(new, line)
        if not times:
            raise ToolError(f"{_NAME}: {shown(f'{source.name}:{number}')} has no such name; nothing was changed.")
        lines[number - 1] = changed_line
        count += times
    return "".join(lines), count
