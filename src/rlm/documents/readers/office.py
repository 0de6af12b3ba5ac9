"""Texts and slides of office documents: paragraphs, headings, lists and tables, of docx, pptx, odt and odp."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rlm.documents.readers.pieces import mark, note, row, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.documents.readers.package import Package, XmlEvent
    from rlm.documents.readers.pieces import Piece

_HEADING = re.compile(r"(?:heading|berschrift|titre|ttulo|kop|rubrik)\s?(\d)$", re.IGNORECASE)
_MOST_REPEATED = 100
_REMARKS = (
    ("word/footnotes.xml", "footnotes"),
    ("word/endnotes.xml", "endnotes"),
    ("word/comments.xml", "comments"),
)


def docx(package: Package) -> Iterator[Piece]:
    """A text of Word: its body, then its footnotes, endnotes and comments."""
    main = _main_part(package, "word/document.xml")
    yield from map(text, _Flow(in_runs=True).lines(package.events(main)))
    for part, name in _REMARKS:
        lines = list(_Flow(in_runs=True).lines(package.events(part))) if package.has(part) else []
        if lines:
            yield text(f"## {name}")
            yield from map(text, lines)


def _main_part(package: Package, usual: str) -> str:
    if package.has(usual):
        return usual
    targets = package.relations("").values()  # the relations of the package itself
    return next((target for target in targets if target.endswith(usual.rpartition("/")[2])), usual)


def pptx(package: Package) -> Iterator[Piece]:
    """A presentation: its slides in their order, each with its notes."""
    main = _main_part(package, "ppt/presentation.xml")
    where = package.relations(main)
    ids = [event.attributes.get("id", "") for event in package.events(main) if event.starts("sldId")]
    missing = 0
    for number, slide in enumerate(map(where.get, ids), 1):
        if slide is None or not package.has(slide):
            missing += 1
            continue
        yield mark(f"slide {number}")
        yield from map(text, _Flow(in_runs=True).lines(package.events(slide)))
        for about in package.relations(slide).values():
            if "notesSlide" in about and package.has(about):
                lines = [line for line in _Flow(in_runs=True).lines(package.events(about)) if not line.isdecimal()]
                if lines:
                    yield text("Notes: " + "\n".join(lines))
    if missing:
        yield note(f"{missing:,} slides are not in the file")


def odt(package: Package) -> Iterator[Piece]:
    """A text of OpenDocument."""
    yield from map(text, _Flow(in_runs=False).lines(package.events("content.xml")))


def odp(package: Package) -> Iterator[Piece]:
    """A presentation of OpenDocument."""
    flow, number = _Flow(in_runs=False), 0
    for event in package.events("content.xml"):
        if event.starts("page"):
            number += 1
            yield mark(f"slide {number}")
        yield from map(text, flow.take(event))


class _Flow:
    """The lines of a text, made of the events of its XML."""

    def __init__(self, *, in_runs: bool) -> None:
        """With `in_runs`, text stands in `<t>` alone, as Word has it; else anywhere in a paragraph, as OpenDocument."""
        self._in_runs = in_runs
        self._taking = not in_runs
        self._paragraphs = 0
        self._skipped = 0
        self._prefix = ""
        self._is_title = False
        self._said: list[str] = []
        self._tables: list[_Table] = []
        self._lists = 0

    def lines(self, events: Iterator[XmlEvent]) -> Iterator[str]:
        for event in events:
            yield from self.take(event)

    def take(self, event: XmlEvent) -> Iterator[str]:
        """The lines that are whole with this event."""
        if event.kind == "text":
            if self._taking and self._paragraphs and not self._skipped:
                self._said.append(event.name)
        elif event.kind == "start":
            self._start(event)
        else:
            yield from self._end(event.name)

    def _start(self, event: XmlEvent) -> None:
        name = event.name
        if name in _SKIPPED:
            self._skipped += 1
        elif name in ("p", "h"):
            self._paragraphs += 1
            self._prefix = self._prefix_of(event)
        elif name == "t":
            self._taking = True
        elif name == "list":
            self._lists += 1
        elif name == "ph":
            self._is_title = event.attributes.get("type", "").lower() in ("title", "ctrtitle")
        elif name in ("tbl", "table"):
            self._tables.append(_Table())
        elif self._tables and name in ("tc", "table-cell"):
            self._tables[-1].begin(event.attributes, self._said)
            self._said = []
        elif self._paragraphs and not self._skipped:
            self._prefix = _styled(event) or self._prefix
            self._said.append(_sign(name, event.attributes))

    def _prefix_of(self, event: XmlEvent) -> str:
        """How the line of a paragraph that starts begins, as far as is known."""
        if event.name == "h":
            return "#" * _number(event.attributes.get("outline-level", "1"), 6) + " "
        if self._is_title:
            return "# "
        return "- " if self._lists and not self._in_runs else ""

    def _end(self, name: str) -> Iterator[str]:
        if name in _SKIPPED:
            self._skipped -= 1
        elif name == "t" and self._in_runs:
            self._taking = False
        elif name == "list":
            self._lists -= 1
        elif name == "sp":
            self._is_title = False
        elif name in ("p", "h"):
            self._paragraphs -= 1
            yield from self._end_paragraph()
        elif self._tables:
            yield from self._end_in_table(name)

    def _end_paragraph(self) -> Iterator[str]:
        if self._tables:
            self._said.append("\n")
            return
        line, self._said = "".join(self._said).strip(), []
        if line:
            yield self._prefix + line
        self._prefix = ""

    def _end_in_table(self, name: str) -> Iterator[str]:
        if name in ("tc", "table-cell"):
            self._said = self._tables[-1].end("".join(self._said).strip())
        elif name in ("tr", "table-row"):
            line = self._tables[-1].row()
            if len(self._tables) > 1:
                self._said.append(line + "\n")  # a table in a cell of another
            elif line:
                yield line
        elif name in ("tbl", "table"):
            self._tables.pop()


_SKIPPED = frozenset(
    {"annotation", "tracked-changes", "delText", "instrText", "Fallback", "sequence-decls", "note-citation"}
)
"""Elements whose text nobody sees at that place: remarks, what was deleted, codes of fields, what is there twice."""


class _Table:
    """A table whose rows are being read."""

    def __init__(self) -> None:
        self._cells: list[str] = []
        self._repeated = 1
        self._around: list[str] = []

    def begin(self, about: Mapping[str, str], around: list[str]) -> None:
        columns = about.get("number-columns-repeated", "1")
        self._repeated = _number(columns, _MOST_REPEATED)
        self._around = around

    def end(self, content: str) -> list[str]:
        """End a cell; what was said around the table's cell goes on."""
        self._cells += [content] * (self._repeated if content else min(self._repeated, _MOST_REPEATED))
        return self._around

    def row(self) -> str:
        """The row that ends; empty where no cell has content."""
        cells, self._cells = self._cells, []
        while cells and not cells[-1]:
            cells.pop()
        return row(cells) if cells else ""


def _styled(event: XmlEvent) -> str:
    """How a line begins whose properties, as Word has them, say this."""
    if event.name == "numPr":
        return "- "
    return _prefix(event.attributes.get("val", "")) if event.name == "pStyle" else ""


def _prefix(style: str) -> str:
    """How a line of a style of Word begins."""
    if found := _HEADING.search(style):
        return "#" * max(1, int(found[1])) + " "
    if style.lower() in ("title", "titel"):
        return "# "
    return "- " if "list" in style.lower() else ""


def _sign(name: str, about: Mapping[str, str]) -> str:
    """The text that an empty element stands for."""
    if name in ("br", "line-break", "cr"):
        return "\n"
    if name == "tab":
        return "\t"
    if name == "s":
        return " " * _number(about.get("c", "1"), _MOST_REPEATED)
    if name == "noBreakHyphen":
        return "-"
    return ""


def _number(said: str, most: int) -> int:
    return min(max(1, int(said)), most) if said.isdecimal() and len(said) < 10 else 1
