"""The parts of a document that is a zip archive, in bounded memory: what is unpacked is counted, XML is read as a
stream, and a document type, by which entities could multiply or name files, is refused."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal
from urllib.parse import unquote
from xml.parsers import expat

from rlm.documents.readers.pieces import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_BYTES = 512 << 20
"""The most that is unpacked of one document."""
_PIECE_BYTES = 1 << 16
_MOST_DEPTH = 500
"""The most elements within one another; a program writes some dozens."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, NotImplementedError, OverflowError)


@dataclass(frozen=True, slots=True)
class XmlEvent:
    """What a parser met: the start or the end of an element, or text."""

    kind: Literal["start", "end", "text"]
    name: str
    """The local name of the element; of a text, the text."""
    attributes: Mapping[str, str]
    """By local name."""

    def starts(self, *names: str) -> bool:
        return self.kind == "start" and self.name in names

    def ends(self, *names: str) -> bool:
        return self.kind == "end" and self.name in names


class Package:
    """An open document."""

    def __init__(self, file: IO[bytes]) -> None:
        """Raises:
        Unreadable: it is damaged, or too large by its own account.
        """
        try:
            self._zip = zipfile.ZipFile(file)
        except _DAMAGED as error:
            raise Unreadable("damaged, or no document of its kind") from error
        self._left = MOST_BYTES
        if sum(entry.file_size for entry in self._zip.infolist() if self._is_read(entry.filename)) > MOST_BYTES:
            raise Unreadable(f"unpacks to more than {MOST_BYTES >> 20} MB by its own account")

    @staticmethod
    def _is_read(name: str) -> bool:
        """Whether a part could be read: none that is a picture or a film is."""
        return name.lower().endswith((".xml", ".rels", ".html", ".xhtml", ".htm", ".opf", ".ncx"))

    def names(self) -> list[str]:
        return self._zip.namelist()

    def has(self, name: str) -> bool:
        return name in self._zip.NameToInfo

    def blocks(self, name: str) -> Iterator[bytes]:
        """The content of a part. Raises:
        Unreadable: it isn't there, it is damaged or encrypted, or too much was unpacked.
        """
        if not self.has(name):
            raise Unreadable(f"it lacks its part {name}")
        try:
            with self._zip.open(name) as part:
                while block := part.read(_PIECE_BYTES):
                    self._left -= len(block)
                    if self._left < 0:
                        raise Unreadable(f"unpacks to more than {MOST_BYTES >> 20} MB")
                    yield block
        except RuntimeError as error:  # what zipfile says of an encrypted part
            raise Unreadable("encrypted") from error
        except _DAMAGED as error:
            raise Unreadable(f"damaged in its part {name}") from error

    def events(self, name: str) -> Iterator[XmlEvent]:
        """What is in a part that is XML. Raises:
        Unreadable: as `blocks`, or it is no well-formed XML, has a document type, or is nested too deep.
        """
        return xml_events(self.blocks(name), name)

    def relations(self, part: str) -> dict[str, str]:
        """The parts that a part of an office document refers to, by their ids."""
        folder, _, file = part.rpartition("/")
        name = f"{folder}/_rels/{file}.rels".lstrip("/")
        if not self.has(name):
            return {}
        found = [event.attributes for event in self.events(name) if event.starts("Relationship")]
        return {
            about.get("Id", ""): joined(folder, about.get("Target", ""))
            for about in found
            if about.get("TargetMode") != "External"
        }


def joined(folder: str, target: str) -> str:
    """The name of a part that is named relative to a folder of the package."""
    return posixpath.normpath(posixpath.join("/", folder, unquote(target))).lstrip("/")


def xml_events(blocks: Iterator[bytes], name: str) -> Iterator[XmlEvent]:
    """What is in XML; see `Package.events`."""
    parser, found, depth = expat.ParserCreate(namespace_separator=" "), [], 0

    def started(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MOST_DEPTH:
            raise Unreadable(f"nested too deep in its part {name}")
        found.append(XmlEvent("start", _local(tag), {_local(key): value for key, value in attributes.items()}))

    def ended(tag: str) -> None:
        nonlocal depth
        depth -= 1
        found.append(XmlEvent("end", _local(tag), {}))

    def refuse(*_: object) -> None:
        raise Unreadable(f"its part {name} has a document type, by which XML can grow or read files")

    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = started, ended
    parser.CharacterDataHandler = lambda text: found.append(XmlEvent("text", text, {}))
    try:
        for block in blocks:
            parser.Parse(block, False)
            yield from found
            found.clear()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        yield from found
        raise Unreadable(f"damaged in its part {name}: {error}") from error
    yield from found


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
