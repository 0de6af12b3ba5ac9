"""RTF as text: paragraphs and tables, without fonts, colours and pictures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rlm.documents.readers.pieces import Unreadable, row, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.documents.readers.pieces import Piece

_TOKEN = re.compile(
    r"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|[\r\n]+|([^\\{}\r\n]+)"
)
_SKIPPED = frozenset("""
    fonttbl colortbl stylesheet info pict object listtable listoverridetable rsidtbl header headerl headerr footer
    footerl footerr generator themedata datastore xmlnstbl latentstyles fldinst
""".split())  # fmt: skip # noqa: SIM905 - two lines are easier to read than twenty-one
_SIGNS = {
    "line": "\n", "tab": "\t", "emdash": "\u2014", "endash": "\u2013", "bullet": "\u2022", "lquote": "\u2018",
    "rquote": "\u2019", "ldblquote": "\u201c", "rdblquote": "\u201d",
}  # fmt: skip
_MOST_GROUPS = 10_000


def rtf(content: bytes) -> Iterator[Piece]:
    """A text in RTF."""
    reader = _Reader()
    for found in _TOKEN.finditer(content.decode("latin-1")):
        yield from map(text, reader.take(found))
    yield from map(text, reader.end_paragraph())


class _Reader:
    """A text that is being read."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._bytes = bytearray()
        self._cells: list[str] = []
        self._groups: list[tuple[bool, int]] = []
        self._is_skipping = False
        self._is_in_table = False
        self._after_unicode = 1
        """How many characters follow one in Unicode, for programs that don't know that."""
        self._left_to_skip = 0
        self._charset = "cp1252"

    def take(self, found: re.Match[str]) -> Iterator[str]:
        """Take one sign; the lines that are whole with it."""
        word, number, code, sign, brace, plain = found.groups()
        if brace is not None:
            self._brace(brace)
        elif word is not None:
            yield from self._word(word, number)
        elif code is not None:
            if self._left_to_skip:
                self._left_to_skip -= 1
            elif not self._is_skipping:
                self._bytes.append(int(code, 16))
        elif sign == "*":
            self._is_skipping = True
        elif sign is not None:
            self._say({"~": " ", "_": "-", "-": ""}.get(sign, sign if sign in "\\{}" else ""))
        elif plain is not None:
            skipped = min(self._left_to_skip, len(plain))
            self._left_to_skip -= skipped
            self._say(plain[skipped:])

    def _brace(self, brace: str) -> None:
        self._flush()
        if brace == "{":
            if len(self._groups) >= _MOST_GROUPS:
                raise Unreadable("nested too deep")
            self._groups.append((self._is_skipping, self._after_unicode))
        elif self._groups:
            self._is_skipping, self._after_unicode = self._groups.pop()

    def _word(self, word: str, number: str | None) -> Iterator[str]:
        if word in _SKIPPED:
            self._is_skipping = True
        elif word == "bin":
            raise Unreadable("has pictures as raw bytes: save it again")
        elif number is not None and word in ("ansicpg", "u", "uc"):
            self._letters(word, number)
        elif not self._is_skipping:
            yield from self._shown(word)

    def _shown(self, word: str) -> Iterator[str]:
        """Take a word that stands for something in the text."""
        if word in ("par", "sect", "page"):
            if self._is_in_table:
                self._say("\n")
            else:
                yield from self.end_paragraph()
        elif word in ("intbl", "pard"):
            self._is_in_table = word == "intbl"
        elif word in ("cell", "nestcell"):
            self._cells.append("".join(self.end_paragraph()))
        elif word == "row":
            if any(self._cells):
                yield row(self._cells)
            self._cells = []
        else:
            self._say(_SIGNS.get(word, ""))

    def _letters(self, word: str, number: str) -> None:
        """Take what says how letters are written, or which letter follows."""
        if word == "ansicpg":
            self._charset = _charset(number)
        elif word == "uc":
            self._after_unicode = min(max(0, int(number)), 10)
        elif not self._is_skipping:
            self._say(chr(int(number) % 0x10000))
            self._left_to_skip = self._after_unicode

    def _say(self, said: str) -> None:
        self._flush()
        if not self._is_skipping and said:
            self._said.append(said)

    def _flush(self) -> None:
        if self._bytes:
            self._said.append(self._bytes.decode(self._charset, "replace"))
            self._bytes.clear()

    def end_paragraph(self) -> Iterator[str]:
        """End the paragraph that is open."""
        self._flush()
        whole = "".join(self._said).encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()
        self._said = []
        if whole:
            yield whole


def _charset(number: str) -> str:
    try:
        "a".encode(f"cp{number}")
    except LookupError:
        return "cp1252"
    return f"cp{number}"
