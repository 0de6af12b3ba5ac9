"""Documents as text, for whoever gathers files: read in confined processes, kept in a cache, with notes."""

from __future__ import annotations

import os
from contextlib import closing
from importlib import metadata, util
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from rlm.core.extras import install_command
from rlm.documents.cache import CachedPieces, folder_of
from rlm.documents.kinds import kind_of
from rlm.files.streams import CannotUnpack, Damaged

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Self

    from rlm.confined.launcher import ConfinedServer
    from rlm.documents.kinds import Kind
    from rlm.files.texts import Notes

VERSION = 1
"""Of the readers: raised when they make another text of a document, so that none is taken from the cache."""
TIMEOUT_S = 120.0
MEMORY_BYTES = 1 << 30
MOST_BYTES = 1 << 30
"""The largest document that is read."""
_PYPDF = "pypdf"
_NUMBERED = "page "


class Documents:
    """Reads the documents of one context; use it in a `with`."""

    def __init__(self, notes: Notes, *, pages: bool = False, texts: bool = True) -> None:
        """With `pages`, a document becomes `{"pages": [...]}` in JSON; without `texts`, what isn't an archive of parts
        is taken as it is: web pages, mails and RTF, and the bytes of PDFs."""
        self._notes = notes
        self._pages = pages
        self._texts = texts
        self._confined: ConfinedServer | None = None
        self.paged: set[str] = set()
        """The names of files that were taken as pages."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._confined is not None:
            self._confined.close()

    def kind(self, fd: int) -> Kind | None:
        """The kind of document that an open file is and that is wanted as text; None for any other file."""
        kind = kind_of(fd)
        return kind if self._texts or kind == "zip" else None

    def text(self, fd: int, name: str, kind: Kind) -> Iterator[bytes]:
        """The text of a document, in blocks. Raises:
        CannotUnpack: there is no text in it that can be read.
        Damaged: nor any more; what came before was given out.
        """
        reader = self._reader(kind)
        if os.fstat(fd).st_size > MOST_BYTES:
            raise CannotUnpack(f"a document of more than {MOST_BYTES >> 30} GB, left out")
        pieces = self._pieces(fd, kind, reader, name)
        with closing(pieces):
            yield from self._as_pages(pieces, name) if self._pages else self._as_text(pieces)
        self._notes.add(f"documents, taken as their text (made by {reader})", name)

    def _reader(self, kind: Kind) -> str:
        """What reads documents of a kind, with its version. Raises:
        CannotUnpack: it isn't here.
        """
        if kind != "pdf":
            return f"rlm's readers {VERSION}"
        if util.find_spec(_PYPDF) is None:
            install = install_command("documents")
            raise CannotUnpack(f"a PDF, for which a package is missing ({install}), or extract its text (pdftotext)")
        return f"pypdf {metadata.version(_PYPDF)}, rlm's readers {VERSION}"

    def _pieces(self, fd: int, kind: Kind, reader: str, name: str) -> Generator[list[str], None, None]:
        """The pieces of a document that aren't notes, from the cache or read anew."""
        folder = folder_of(os.environ)
        kept = None if folder is None else CachedPieces.of(folder, fd, f"{reader}, {kind}")
        known = None if kept is None else kept.pieces()
        made = self._read(fd, kind) if known is None else iter(known)
        pieces = kept.keeping(made) if known is None and kept is not None else made
        for piece in pieces:
            if piece[0] == "note":
                self._notes.add(piece[1], name)
            else:
                yield piece

    def _read(self, fd: int, kind: Kind) -> Iterator[list[str]]:
        from rlm.confined.launcher import (
            CallFailed,
            ConfinedCall,
            ConfinedServer,
        )  # loads asyncio, which few contexts need

        if self._confined is None:
            self._confined = ConfinedServer()
        call = ConfinedCall(
            target="rlm.documents.readers.reading:read",
            arguments={"kind": kind},
            preload=[_PYPDF] if kind == "pdf" else [],
            memory_bytes=MEMORY_BYTES,
            timeout_s=TIMEOUT_S,
        )
        count = 0
        try:
            for piece in self._confined.call(call, [fd]):
                count += 1
                yield msgspec.convert(piece, list[str])
        except CallFailed as error:
            raise Damaged(f"{error}, read up to there" if count > 1 else f"{error}, left out") from error
        except msgspec.ValidationError as error:
            raise Damaged("its reader gave something else than text, left out") from error

    def _as_text(self, pieces: Iterator[list[str]]) -> Iterator[bytes]:
        """One text, with a line for each mark; marks alone are none."""
        marks: list[str] = []
        has_text = False
        for what, said in pieces:
            if what == "mark":
                marks.append(f"--- {said} ---\n")
            elif said.strip():
                has_text = True
                yield _encoded("".join(chain(marks, [said])))
                marks = []
        if not has_text:
            raise CannotUnpack("documents without any text, left out")
        yield _encoded("".join(marks))

    def _as_pages(self, pieces: Iterator[list[str]], name: str) -> Iterator[bytes]:
        """The text of each page, sheet or slide; a damaged document has those that came before."""
        pages: list[str] = []
        damage: Damaged | None = None
        try:
            for what, said in pieces:
                if what == "mark":
                    pages.append("" if said.startswith(_NUMBERED) else f"--- {said} ---\n")
                else:
                    pages[-1:] = [(pages[-1] if pages else "") + said]
        except Damaged as error:
            damage = error
        if any(map(str.strip, pages)):
            self.paged.add(name)
            yield msgspec.json.encode({"pages": pages})
        if damage is not None:
            raise damage
        if name not in self.paged:
            raise CannotUnpack("documents without any text, left out")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
