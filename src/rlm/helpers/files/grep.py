"""`fs.grep`: the lines of many files that match a regular expression, as facts that code can go on with.

For guests it runs in a worker that can be killed, since they choose the pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.helpers.labels import holds_label, label_searched
from rlm.helpers.operation import helper
from rlm.helpers.workspace import Skipped

if TYPE_CHECKING:
    from rlm.core.types import Json
    from rlm.helpers.text_files import SourceText
    from rlm.helpers.workspace import Workspace

MAX_MATCHES = 5_000
_LINE_CHARS = 400


@helper("fs.grep", over_files=True)
def grep(
    work: Workspace,
    pattern: str,
    path: str = ".",
    file_pattern: str = "**/*",
    ignore_case: bool = False,
    limit: int = 200,
) -> Json:
    """Return the lines that match a regular expression: file, line and text of the first, counts of all.

    Args:
        pattern: A regular expression of Python's, which is searched for in each line.
        path: A folder or a file.
        file_pattern: Which files of a folder.
        ignore_case: Whether case makes no difference.
        limit: The most lines to return, up to 5,000.
    """
    try:
        wanted = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    except (re.error, OverflowError, RecursionError) as error:
        raise ToolError(f"fs.grep: pattern is not what Python's re takes: {error}.") from error
    skipped, hits = Skipped(), _Hits(most=max(0, min(limit, MAX_MATCHES)))
    for source in work.sources(file_pattern, path, skipped=skipped):
        hits.take(source, wanted)
    facts: dict[str, Json] = {
        "matches": hits.rows, "total": hits.total, "files": hits.files, "files_looked_at": skipped.looked_at,
    }  # fmt: skip
    if left_out := skipped.facts():
        facts["left_out"] = {**left_out}
    if note := skipped.note or (label_searched(".*TOKEN=.*") if not hits.total and holds_label(pattern) else ""):
        facts["note"] = note
    return facts


@dataclass(slots=True, kw_only=True)
class _Hits:
    most: int
    rows: list[Json] = field(default_factory=list)
    total: int = 0
    """How many lines match."""
    files: int = 0
    """How many files have a line that matches."""

    def take(self, source: SourceText, wanted: re.Pattern[str]) -> None:
        before = self.total
        for number, line in enumerate(source.lines, 1):
            text = line.removesuffix("\n").removesuffix("\r")
            if found := wanted.search(text):
                self.total += 1
                if len(self.rows) < self.most:
                    self.rows.append({"file": source.name, "line": number, "text": _window(text, found.start())})
        self.files += self.total > before


def _window(line: str, position: int) -> str:
    """The line, or of a long one what is around a position."""
    if len(line) <= _LINE_CHARS:
        return line
    start = max(0, min(position - _LINE_CHARS // 3, len(line) - _LINE_CHARS))
    return f"{'…' * (start > 0)}{line[start : start + _LINE_CHARS]}{'…' * (start + _LINE_CHARS < len(line))}"
