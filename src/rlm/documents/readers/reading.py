"""Reads one document: the function that a confined process calls."""

from __future__ import annotations

import os
from itertools import chain
from typing import IO, TYPE_CHECKING

from rlm.documents.readers.pieces import Unreadable, mark, note, row, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.documents.readers.package import Package
    from rlm.documents.readers.pieces import Piece

_TEXT_CHARS = 1 << 20
"""About how much text a piece has."""
MOST_CHARS = 512 << 20
"""The most text that is made of one document."""
_BATCH = 1_000
_MOST_BYTES = 64 << 20
"""The largest page or text that is read whole."""


def read(files: Sequence[int], *, kind: str) -> Iterator[Piece]:
    """The pieces of the document in the first file, texts that follow one another joined with line breaks."""
    chars, lines, size = 0, list[str](), 0
    seen_notes: set[str] = set()
    with os.fdopen(os.dup(files[0]), "rb") as file:
        file.seek(0)
        for what, said in _pieces(file, kind):
            if what == "text":
                lines.append(said)
                size += len(said) + 1
                chars += len(said) + 1
                if chars > MOST_CHARS:
                    raise Unreadable(f"has more than {MOST_CHARS >> 20} million characters")
            if lines and (what != "text" or size > _TEXT_CHARS):
                yield text("\n".join(lines) + "\n")
                lines, size = [], 0
            if what == "mark" or (what == "note" and said not in seen_notes):
                seen_notes.add(said)
                yield what, said
    if lines:
        yield text("\n".join(lines) + "\n")


def _pieces(file: IO[bytes], kind: str) -> Iterator[Piece]:
    if kind == "pdf":
        from rlm.documents.readers.pdf import pdf

        return pdf(file)
    if kind == "zip":
        from rlm.documents.readers.package import Package

        return _of_package(Package(file))
    return _of_text(file, kind)


def _of_text(file: IO[bytes], kind: str) -> Iterator[Piece]:
    from rlm.documents.readers.mails import mail, mailbox
    from rlm.documents.readers.rtf import rtf
    from rlm.documents.readers.web import page_lines

    if kind == "mbox":
        return mailbox(file)
    content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise Unreadable(f"has more than {_MOST_BYTES >> 20} MB")
    if kind == "mail":
        return mail(content)
    if kind == "rtf":
        return rtf(content)
    return map(text, page_lines(_decoded_page(content)))


def _decoded_page(content: bytes) -> str:
    import re

    said = re.search(rb"charset\s*=\s*[\"']?([\w-]+)", content[:4096], re.IGNORECASE)
    names = ["utf-8-sig", said[1].decode("ascii", "replace") if said else "cp1252", "cp1252"]
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        names.insert(0, "utf-16")
    for name in names:
        try:
            return content.decode(name)
        except (LookupError, ValueError):
            continue
    return content.decode("utf-8", "replace")


def _of_package(package: Package) -> Iterator[Piece]:
    from rlm.documents.readers import office, web

    main = next((name for name in package.names() if name.startswith(("word/", "ppt/", "xl/"))), "")
    if package.has("mimetype"):
        return _open_document(package, b"".join(package.blocks("mimetype"))[:100].decode("ascii", "replace").strip())
    if package.has("xl/workbook.xml"):
        return sheets_of(package, "xlsx")
    if package.has("ppt/presentation.xml"):
        return office.pptx(package)
    if main.startswith("word/") or package.has("word/document.xml"):
        return office.docx(package)
    if package.has("META-INF/container.xml"):
        return web.epub(package)
    if any(name.startswith("xl/") for name in package.names()):
        raise Unreadable("a workbook whose sheets are binary (.xlsb): save it as .xlsx")
    raise Unreadable("a document of a kind that is not read here")


def _open_document(package: Package, media_type: str) -> Iterator[Piece]:
    from rlm.documents.readers import office, web

    if media_type == "application/epub+zip":
        return web.epub(package)
    manifest = "META-INF/manifest.xml"
    if package.has(manifest) and any(event.starts("encryption-data") for event in package.events(manifest)):
        raise Unreadable("encrypted: it opens with a password only")
    kind = media_type.rpartition(".")[2]
    if kind.startswith("spreadsheet"):
        return sheets_of(package, "ods")
    if kind.startswith("presentation"):
        return office.odp(package)
    if kind.startswith("text"):
        return office.odt(package)
    raise Unreadable(f"a document of a kind that is not read here ({media_type[:60] or 'it says none'})")


def sheets_of(package: Package, kind: str) -> Iterator[Piece]:
    """The sheets of a workbook, each row of one as that of a table in Markdown."""
    from rlm.documents.readers import sheets

    seen = sheets.SheetNotes()
    for sheet in (sheets.ods if kind == "ods" else sheets.xlsx)(package, seen):
        yield mark(f"sheet {sheet.name}" + (" (hidden)" if sheet.is_hidden else ""))
        yield from (text(row(cells)) for cells in sheet.rows)
    yield from map(note, chain(seen.notes()))


def rows(files: Sequence[int]) -> Iterator[tuple[str, str | list[list[str]]]]:
    """The sheets of the workbook in the first file: the name of each, then its rows in batches."""
    from rlm.documents.readers import sheets
    from rlm.documents.readers.package import Package

    with os.fdopen(os.dup(files[0]), "rb") as file:
        package, seen = Package(file), sheets.SheetNotes()
        if not package.has("xl/workbook.xml") and not package.has("content.xml"):
            raise Unreadable("no workbook that is read here (xlsx or ods)")
        for sheet in (sheets.xlsx if package.has("xl/workbook.xml") else sheets.ods)(package, seen):
            yield "sheet", sheet.name
            batch: list[list[str]] = []
            for cells in sheet.rows:
                batch.append(cells)
                if len(batch) == _BATCH:
                    yield "rows", batch
                    batch = []
            if batch:
                yield "rows", batch
