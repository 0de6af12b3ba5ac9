"""PDF as text, by pypdf: page by page, and as columns where a page is a table."""

from __future__ import annotations

import logging
import re
from typing import IO, TYPE_CHECKING

from rlm.documents.readers.pieces import Unreadable, mark, note, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pypdf import PageObject, PdfReader

    from rlm.documents.readers.pieces import Piece

_MOST_PAGES = 20_000
_CELL_CHARS = 24
"""A line of a table that was read cell by cell is shorter..."""
_LEAST_LINES = 9
_SHARE = 0.8
"""... as is this share of the lines of such a page."""
_GAP = re.compile(r"\S {2,}\S")


def pdf(file: IO[bytes]) -> Iterator[Piece]:
    """The pages of a PDF. Raises:
    Unreadable: it is encrypted, damaged or too large.
    """
    logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)  # it says there what it mends
    reader = _opened(file)
    count = len(reader.pages)
    without, damaged = 0, 0
    for number in range(1, min(count, _MOST_PAGES) + 1):
        yield mark(f"page {number}")
        try:
            page = reader.pages[number - 1]
            said = _text(page)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - pypdf raises whatever a damaged page leads it to
            damaged += 1
            continue
        without += not said.strip()
        yield text(said)
    if count > _MOST_PAGES:
        yield note(f"has {count:,} pages, read up to page {_MOST_PAGES:,}")
    if damaged:
        yield note(f"{damaged:,} of {count:,} pages are damaged or too large to read, left out")
    if without:
        yield note(f"no text on {without:,} of {count:,} pages: they are empty, or scanned images, which are not read")


def _opened(file: IO[bytes]) -> PdfReader:
    import pypdf
    from pypdf.errors import DependencyError, PyPdfError

    try:
        reader = pypdf.PdfReader(file)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("encrypted: it opens with a password only")
        if not len(reader.pages):
            raise Unreadable("a PDF without pages")
    except DependencyError as error:
        raise Unreadable(f"encrypted in a way for which a package is missing ({error})") from error
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError) as error:
        raise Unreadable(f"damaged, or no PDF: {type(error).__name__}: {error}") from error
    return reader


def _text(page: PageObject) -> str:
    """The text of a page: in its reading order, or by columns where that shows a table."""
    said = page.extract_text()
    lines = [line for line in said.splitlines() if line.strip()]
    short = sum(len(line) < _CELL_CHARS for line in lines)
    if len(lines) < _LEAST_LINES or short < _SHARE * len(lines):
        return said
    columns = page.extract_text(extraction_mode="layout")
    shown = [line for line in columns.splitlines() if line.strip()]
    aligned = sum(_GAP.search(line) is not None for line in shown)
    is_table = len(shown) < len(lines) and aligned > len(shown) / 2
    return columns if is_table else said
