"""Sheets of xlsx and ods, row by row: dates as dates, the kept results of formulas, blanks where cells are missing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from rlm.documents.readers.pieces import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.documents.readers.package import Package, XmlEvent

_BOOK = "xl/workbook.xml"
_MOST_BLANKS = 256
"""The widest gap between two cells of a row that is filled; beyond it a sheet has something else than a table."""
_MOST_REPEATED_CELLS = 1_024
_MOST_REPEATED_ROWS = 1_000
_MOST_ROWS = 5_000_000
"""The most rows that are read of all sheets of a file together."""
_MOST_SHARED_CHARS = 128 << 20
_REFERENCE = re.compile(r"([A-Z]{1,3})\d+$")
_DATE_FORMATS = frozenset([*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)])
_IN_QUOTES = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.|_.')
_DATE_SIGNS = re.compile("[ymdhs]", re.IGNORECASE)

Row: TypeAlias = list[str]


@dataclass(slots=True, kw_only=True)
class Sheet:
    """One sheet; its rows are read once, before the next sheet is asked for."""

    name: str
    rows: Iterator[Row]
    is_hidden: bool = False


@dataclass(slots=True)
class SheetNotes:
    """What the user should know of the sheets that were read."""

    rows: int = 0
    uncalculated: int = 0
    """Formulas whose result the file doesn't have, because nothing has calculated it."""
    far: int = 0
    """Cells so far to the right of others that their rows show where they stand."""

    def count_row(self) -> None:
        self.rows += 1
        if self.rows > _MOST_ROWS:
            raise Unreadable(f"has more than {_MOST_ROWS:,} rows")

    def notes(self) -> list[str]:
        said = []
        if self.uncalculated:
            said.append(
                f"{self.uncalculated:,} formulas were never calculated, so that they are shown instead of results: "
                "open the file in its program and save it"
            )
        if self.far:
            said.append(f"{self.far:,} cells stand far to the right of others and are shown with their columns")
        return said


def xlsx(package: Package, seen: SheetNotes) -> Iterator[Sheet]:
    """The sheets of a workbook of Excel, in their order."""
    where = package.relations(_BOOK)
    shared, dates = _shared_texts(package), _dates(package)
    sheets = []
    since = datetime(1899, 12, 30)  # noqa: DTZ001 - dates of sheets have no zone
    for event in package.events(_BOOK):
        if event.starts("sheet"):
            sheets.append(event.attributes)
        elif event.starts("workbookPr") and event.attributes.get("date1904") in ("1", "true"):
            since = datetime(1904, 1, 1)  # noqa: DTZ001
    for about in sheets:
        part = where.get(about.get("id", ""), "")
        if package.has(part) and "chartsheets/" not in part:
            rows = _Cells(shared, dates, since, seen).rows(package.events(part))
            yield Sheet(name=about.get("name", ""), rows=rows, is_hidden=about.get("state", "visible") != "visible")


def _shared_texts(package: Package) -> list[str]:
    texts: list[str] = []
    if not package.has("xl/sharedStrings.xml"):
        return texts
    said: list[str] = []
    taking, phonetic, chars = False, 0, 0
    for event in package.events("xl/sharedStrings.xml"):
        if event.kind == "text":
            if taking and not phonetic:
                said.append(event.name)
        elif event.name == "t":
            taking = event.kind == "start"
        elif event.name == "rPh":
            phonetic += 1 if event.kind == "start" else -1
        elif event.ends("si"):
            texts.append("".join(said))
            said = []
            chars += len(texts[-1]) + 50
            if chars > _MOST_SHARED_CHARS:
                raise Unreadable("has too many texts in its cells")
    return texts


def _dates(package: Package) -> frozenset[str]:
    """The numbers of the styles by which a number is a date."""
    formats: dict[str, str] = {}
    dates, in_styles, number = set(), False, 0
    for event in package.events("xl/styles.xml") if package.has("xl/styles.xml") else ():
        if event.starts("numFmt"):
            formats[event.attributes.get("numFmtId", "")] = event.attributes.get("formatCode", "")
        elif event.name == "cellXfs":
            in_styles = event.kind == "start"
        elif in_styles and event.starts("xf"):
            code = event.attributes.get("numFmtId", "0")
            shown = _IN_QUOTES.sub("", formats.get(code, ""))
            if (code.isdecimal() and len(code) < 6 and int(code) in _DATE_FORMATS) or _DATE_SIGNS.search(shown):
                dates.add(str(number))
            number += 1
    return frozenset(dates)


@dataclass(slots=True)
class _Cells:
    """The cells of one sheet of Excel, while they are read."""

    shared: list[str]
    dates: frozenset[str]
    since: datetime
    seen: SheetNotes
    about: Mapping[str, str] = field(default_factory=dict)
    value: list[str] = field(default_factory=list)
    formula: list[str] = field(default_factory=list)
    taking: list[str] | None = None
    row: Row = field(default_factory=list)
    is_phonetic: bool = False

    def rows(self, events: Iterator[XmlEvent]) -> Iterator[Row]:
        for event in events:
            if event.kind == "text":
                if self.taking is not None and not self.is_phonetic:
                    self.taking.append(event.name)
            elif event.ends("row"):
                self.seen.count_row()
                if any(self.row):
                    yield self.row
                self.row = []
            else:
                self._take(event)

    def _take(self, event: XmlEvent) -> None:
        """Take an element in a row."""
        if event.name in ("v", "t"):
            self.taking = self.value if event.kind == "start" else None
        elif event.name == "f":
            self.taking = self.formula if event.kind == "start" else None
        elif event.name == "rPh":
            self.is_phonetic = event.kind == "start"
        elif event.starts("c"):
            self.about, self.value, self.formula = event.attributes, [], []
        elif event.ends("c"):
            self._add()

    def _add(self) -> None:
        shown = self._shown()
        found = _REFERENCE.match(self.about.get("r", ""))
        at = _column(found[1]) if found else len(self.row)
        if at - len(self.row) > _MOST_BLANKS:
            if shown:
                self.seen.far += 1
                self.row.append(f"[{found[1] if found else ''}] {shown}")
            return
        self.row += [""] * (at - len(self.row))
        self.row.append(shown)

    def _shown(self) -> str:
        kind, value = self.about.get("t", "n"), "".join(self.value)
        if not value and self.formula and kind not in ("str", "inlineStr"):
            self.seen.uncalculated += 1
            return "=" + "".join(self.formula)
        if kind == "s":
            return self.shared[int(value)] if value.isdecimal() and int(value) < len(self.shared) else ""
        if kind == "b":
            return {"1": "true", "0": "false"}.get(value, value)
        if kind == "n" and value:
            return self._date(value) if self.about.get("s") in self.dates else _number(value)
        return value

    def _date(self, value: str) -> str:
        try:
            days = float(value)
            if 0 <= days < 1:
                return str(timedelta(seconds=round(days * 86_400)))
            when = self.since + timedelta(seconds=round(days * 86_400))
        except (ValueError, OverflowError):
            return value
        return when.isoformat(" ").removesuffix(" 00:00:00")


def _number(value: str) -> str:
    """A number as a person would write it, where the file has the digits of its binary form."""
    try:
        short = f"{float(value):.15g}"
    except ValueError:
        return value
    return short if "e" not in short and "n" not in short and len(short) < len(value) else value


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def ods(package: Package, seen: SheetNotes) -> Iterator[Sheet]:
    """The sheets of a workbook of OpenDocument."""
    events = package.events("content.xml")
    for event in events:
        if event.starts("table"):
            yield Sheet(name=event.attributes.get("name", ""), rows=_ods_rows(events, seen))


def _ods_rows(events: Iterator[XmlEvent], seen: SheetNotes) -> Iterator[Row]:
    """The rows of the sheet that has just begun."""
    cells, remarks = _OdsCells(seen), 0
    for event in events:
        if event.kind != "text" and event.name in ("annotation", "table"):
            if event.ends("table") and not remarks:
                return
            remarks += 1 if event.kind == "start" else -1
        elif not remarks:
            yield from cells.take(event)


class _OdsCells:
    """The cells of a row of OpenDocument, while they are read."""

    def __init__(self, seen: SheetNotes) -> None:
        self._seen = seen
        self._row: Row = []
        self._said: list[str] = []
        self._about: Mapping[str, str] = {}
        self._rows = self._columns = 1

    def take(self, event: XmlEvent) -> Iterator[Row]:
        if event.kind == "text":
            self._said.append(event.name)
        elif event.starts("table-row"):
            self._row, self._rows = [], _repeated(event, "number-rows-repeated", _MOST_REPEATED_ROWS)
        elif event.starts("table-cell", "covered-table-cell"):
            self._about, self._said = event.attributes, []
            self._columns = _repeated(event, "number-columns-repeated", _MOST_REPEATED_CELLS)
        elif event.ends("table-cell", "covered-table-cell"):
            self._row += [_ods_shown("".join(self._said).strip(), self._about, self._seen)] * self._columns
        elif event.ends("p"):
            self._said.append(" ")
        elif event.ends("table-row"):
            yield from self._end_row()

    def _end_row(self) -> Iterator[Row]:
        while self._row and not self._row[-1]:
            self._row.pop()
        for _ in range(self._rows if self._row else 0):
            self._seen.count_row()
            yield self._row


def _ods_shown(said: str, about: Mapping[str, str], seen: SheetNotes) -> str:
    if not said and about.get("formula") and not about.get("value"):
        seen.uncalculated += 1
        return "=" + about["formula"].partition(":=")[2]
    if about.get("value-type") == "date" and about.get("date-value"):
        return about["date-value"].replace("T", " ")
    if about.get("value-type") in ("float", "currency", "percentage") and about.get("value"):
        return about["value"]
    return said


def _repeated(event: XmlEvent, name: str, most: int) -> int:
    said = event.attributes.get(name, "1")
    return max(1, min(int(said), most)) if said.isdecimal() and len(said) < 10 else 1
