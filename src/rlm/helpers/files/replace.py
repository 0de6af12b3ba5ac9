"""`fs.search_replace`: replaces a text or a regular expression in many files, all or none.

For guests it runs in a worker that can be killed, since they choose the pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.files.encodings import HEAD_BYTES, byte_order_mark, why_binary
from rlm.helpers.changes import edit
from rlm.helpers.labels import holds_label, label_searched
from rlm.helpers.operation import helper
from rlm.helpers.text_files import NotText, SourceText
from rlm.helpers.workspace import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.types import Json
    from rlm.helpers.changes import Change, Edit
    from rlm.helpers.workspace import Workspace

_LISTED = 200
"""The most files that the facts name."""


@helper("fs.search_replace", right="write", over_files=True)
def search_replace(
    work: Workspace,
    file_pattern: str,
    search: str,
    replace: str,
    regex: bool = False,
    dry_run: bool = False,
) -> Edit:
    """Replace text in every text file that fits a glob, all or none; binary, hidden and ignored files are left out.

    Args:
        file_pattern: Which files: a glob such as "src/**/*.py"; without a "/" it is matched with names alone.
        search: The text to replace, or a regular expression in which ^ and $ fit each line; (?i) ignores case.
        replace: What to put there; with regex, \\\\1 and \\\\g<name> stand for groups.
        regex: Whether search is a regular expression of Python's.
        dry_run: Change nothing and return a diff.
    """
    query = _Query.of(search, replace, regex=regex)
    skipped = Skipped()
    found: list[tuple[Change, int]] = []
    mixed: list[str] = []
    for source in query.candidates(work, file_pattern, skipped):
        mixed += [source.name] if source.is_mixed else []
        text, count = query.applied(source)
        if count:
            found.append((source.change(text), count))
    facts = _facts(found, skipped)
    if note := skipped.note or ("" if found else _why_nothing(search, mixed)):
        facts["note"] = note
    if left_out := skipped.facts():
        facts["left_out"] = {**left_out}
    return edit("fs.search_replace", [change for change, _ in found], facts, dry_run=dry_run)


def _why_nothing(search: str, mixed: list[str]) -> str:
    """A note on a search that found nothing, if what was searched for tells why; else empty."""
    if holds_label(search):
        return label_searched(r"TOKEN=\S+")
    if mixed and "\n" in search:
        return f"{shown(mixed[0])} mixes \\n and \\r\\n, each found as it is: search with regex=True and \\r?\\n."
    return ""


def _facts(found: list[tuple[Change, int]], skipped: Skipped) -> dict[str, Json]:
    changed = [(change, count) for change, count in found if change.before != change.after]
    files: list[Json] = [{"file": change.name, "replacements": count} for change, count in changed[:_LISTED]]
    facts: dict[str, Json] = {
        "files_looked_at": skipped.looked_at,
        "files_modified": len(changed),
        "total_replacements": sum(count for _, count in changed),
        "files": files,
    }
    if len(changed) > _LISTED:
        facts["files_not_listed"] = len(changed) - _LISTED
    return facts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    pattern: re.Pattern[str]
    replacement: str
    is_regex: bool
    search: str
    needle: bytes | None
    """Bytes that a file must have to match, in encodings that contain ASCII; None if there are no such bytes."""

    @classmethod
    def of(cls, search: str, replace: str, *, regex: bool) -> _Query:
        if not search:
            raise ToolError("fs.search_replace: there is nothing to search for.")
        try:
            pattern = re.compile(search if regex else re.escape(search), re.MULTILINE)
            pattern.sub(replace if regex else "", "")  # checks the template even if nothing will match
        except (re.error, OverflowError, RecursionError, IndexError) as error:
            raise ToolError(f"fs.search_replace: search or replace is not what Python's re takes: {error}.") from error
        is_ascii = not regex and search.isascii() and "\n" not in search
        return cls(
            pattern=pattern,
            replacement=replace,
            is_regex=regex,
            search=search,
            needle=search.encode() if is_ascii else None,
        )

    def candidates(self, work: Workspace, file_pattern: str, skipped: Skipped) -> Iterator[SourceText]:
        """The files that may match."""
        for place, content in work.contents(file_pattern, skipped=skipped):
            if self.needle is not None and self.needle not in content and not byte_order_mark(content[:HEAD_BYTES])[0]:
                skipped.binary += why_binary(content[:HEAD_BYTES]) is not None
                continue
            try:
                yield SourceText.of(place, work.name(place.path), content)
            except NotText:
                skipped.binary += 1

    def applied(self, source: SourceText) -> tuple[str, int]:
        """The text after the replacements, and their number."""
        query = self.with_feeds if source.newline == "\r\n" and not source.is_mixed else self
        if query.is_regex:
            return query.pattern.subn(query.replacement, source.text)
        count = source.text.count(query.search)
        return (source.text.replace(query.search, query.replacement) if count else source.text), count

    @property
    def with_feeds(self) -> _Query:
        """The query for a text in which each `\\r\\n` was made `\\n`."""
        if self.is_regex:
            plain = self.pattern.pattern.replace("\\r\\n", "\\n").replace("\r\n", "\n")
            return replace_fields(self, pattern=re.compile(plain, re.MULTILINE))
        return replace_fields(self, search=self.search.replace("\r\n", "\n"))
