"""Web pages and books as text: headings, lists and tables stay, menus, scripts and forms go."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

from rlm.documents.readers.package import joined
from rlm.documents.readers.pieces import Unreadable, mark, row, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.documents.readers.package import Package
    from rlm.documents.readers.pieces import Piece

_BLOCKS = frozenset("""
    address article aside blockquote br caption dd details div dl dt fieldset figcaption footer form h1 h2 h3 h4 h5 h6
    header hr li main ol option p pre section summary table title ul
""".split())  # fmt: skip # noqa: SIM905 - two lines are easier to read than forty
_SKIPPED = frozenset(
    ["script", "style", "nav", "noscript", "template", "svg", "select", "textarea", "iframe", "object"]
)
_MOST_OPEN = 1_000
_CONTAINER = "META-INF/container.xml"


def page_lines(html: str) -> list[str]:
    """The lines of a web page that a reader sees."""
    page = _Page()
    page.feed(html)
    page.close()
    page.end_line()
    return page.lines


class _Page(HTMLParser):
    """A page that is being read."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self._line: list[str] = []
        self._prefix = ""
        self._skipping: list[str] = []
        self._cells: list[list[str]] = []
        """The rows of tables that are open, the innermost last."""
        self._is_in_cell = False
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIPPED and len(self._skipping) < _MOST_OPEN:
            self._skipping.append(tag)
        elif self._skipping:
            return
        elif tag == "tr":
            self._start_row()
        elif tag in ("td", "th"):
            self._start_cell()
        elif tag in _BLOCKS:
            self._start_block(tag)
        elif tag == "img" and (alt := dict(attrs).get("alt")):
            self._line.append(f"[image: {' '.join(alt.split())}]")

    def handle_endtag(self, tag: str) -> None:
        if self._skipping:
            if tag in self._skipping:
                while self._skipping.pop() != tag:
                    pass
        elif tag in ("td", "th"):
            self._end_cell()
        elif tag in ("tr", "table"):
            self._end_row()
            if tag == "table":
                self.end_line()
        elif tag in _BLOCKS:
            if self._cells:
                self._line.append(" ")
            else:
                self.end_line()
            self._preformatted = max(0, self._preformatted - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        if self._skipping:
            return
        if self._preformatted and not self._cells:
            self._line.append(data)
            return
        words = " ".join(data.split())
        before, after = " " * data[:1].isspace(), " " * data[-1:].isspace()
        self._line.append(f"{before}{words}{after}" if words else before)

    def _start_block(self, tag: str) -> None:
        if self._cells:
            self._line.append(" ")
            return
        self.end_line()
        self._preformatted += tag == "pre"
        heading = tag[0] == "h" and tag[1:].isdecimal()
        self._prefix = "#" * int(tag[1]) + " " if heading else "# " if tag == "title" else "- " if tag == "li" else ""

    def _start_row(self) -> None:
        self._end_row()
        self.end_line()
        self._cells.append([])

    def _start_cell(self) -> None:
        self._end_cell()
        self._is_in_cell, self._line = bool(self._cells), []

    def _end_cell(self) -> None:
        if self._is_in_cell:
            self._cells[-1].append("".join(self._line))
            self._is_in_cell, self._line = False, []

    def _end_row(self) -> None:
        if self._cells:
            self._end_cell()
            cells = self._cells.pop()
            if any(map(str.strip, cells)):
                self.lines.append(row(cells))
            self._is_in_cell, self._line = bool(self._cells), []

    def end_line(self) -> None:
        """End the line that is open; an empty one is left out."""
        said = "".join(self._line)
        said = said.rstrip() if self._preformatted else " ".join(said.split())
        if said.strip():
            self.lines.append(self._prefix + said)
        self._line, self._prefix = [], ""


def epub(package: Package) -> Iterator[Piece]:
    """A book: its chapters in their order."""
    found = (event.attributes for event in package.events(_CONTAINER) if event.starts("rootfile"))
    about = next((each.get("full-path", "") for each in found), "")
    items, order = {}, []
    for event in package.events(about):
        if event.starts("item"):
            items[event.attributes.get("id", "")] = event.attributes.get("href", "")
        elif event.starts("itemref"):
            order.append(event.attributes.get("idref", ""))
    if not order:
        raise Unreadable("a book without chapters")
    if package.has("META-INF/encryption.xml") and package.has("META-INF/rights.xml"):
        raise Unreadable("encrypted, a book with protection against copies")
    folder = about.rpartition("/")[0]
    number = 0
    for identity in order:
        name = joined(folder, items.get(identity, ""))
        if not package.has(name):
            continue
        lines = page_lines(b"".join(package.blocks(name)).decode("utf-8", "replace"))
        if lines:
            number += 1
            yield mark(f"chapter {number}")
            yield text("\n".join(lines))
