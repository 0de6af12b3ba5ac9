"""Finds a text in records by reading them, without a copy of their texts.

The text is taken literally, so that any search takes one pass. Lines are searched as they stand, in JSON's escapes, and
only lines that may have the text are decoded; texts that are too long for a line are searched in their blobs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import msgspec

from rlm.core.events import decode
from rlm.core.exceptions import ConfigError
from rlm.core.texts import escape_line_ends, escape_surrogates
from rlm.trajectory.index.rows import RunQuery
from rlm.trajectory.reader import LINE_BYTES, is_digest, open_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from rlm.core.events import Event
    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.reader import Trajectory

BLOCK_BYTES = 4 << 20
TEXT_CHARS = 1_000
"""A longer text to look for is refused."""
EXCERPT_CHARS = 200
SAME_CHARS = 40
"""Two hits show the same text if this many characters before them and twice as many after them are the same, within
their line."""
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A place where a text was found."""

    run_id: str
    seq: int
    at: float
    span: str
    type: str
    field: str
    """The dotted place in the body: `text`, `usage.note`, `tool_calls.0.arguments`."""
    excerpt: str
    """The text around it, at most 200 characters."""
    start: int
    """Where the found text begins in `excerpt`."""
    length: int


class SearchText:
    """A text to look for; a text without capitals fits any case."""

    def __init__(self, text: str) -> None:
        """Raises:
        ConfigError: the text is empty or too long.
        """
        if not text or len(text) > TEXT_CHARS:
            raise ConfigError(f"a text to look for has 1 to {TEXT_CHARS:,} characters, not {len(text):,}")
        self.any_case = text == text.lower()
        self.text = text
        self._raw = _pattern(text, _as_utf8, any_case=self.any_case)
        self._escaped = _pattern(text, _as_json, any_case=self.any_case)

    def in_text(self, text: str) -> int:
        """Where it begins in another text; -1 if that text doesn't have it."""
        return (text.lower() if self.any_case else text).find(self.text)

    def in_blob(self, file: IO[bytes]) -> bool:
        """Whether a file of plain text or of JSON has it."""
        overlap, before = 6 * len(self.text), b""
        while block := file.read(BLOCK_BYTES):
            piece = before + block
            if any(next(find(piece), None) is not None for find in (self._raw, self._escaped)):
                return True
            before = block[-overlap:]
        return False

    def in_lines(self, block: bytes) -> Iterator[int]:
        """The places where it may begin in lines of JSON."""
        return self._escaped(block)


def search(index: Index, text: str, run: str | None = None, *, limit: int = 100) -> list[Hit]:
    """Where `text` occurs, literally, and in any case unless it has capitals: at most `limit` places, in the order of
    events, in the run that `run` names, or in all runs, the latest first. A field that has it several times is one
    place.

    Raises:
        ConfigError: the run doesn't exist, or the text is empty or too long.
    """
    needle, hits = SearchText(text), list[Hit]()
    rows = index.runs(RunQuery(limit=0)).rows if run is None else (index.run(run),)
    for row in rows:
        try:
            for hit in _search_run(index, needle, index.trajectory(row.id)):
                hits.append(hit)
                if len(hits) >= limit:
                    return hits
        except ConfigError:  # this record can't be read; the others can
            continue
    return hits


def each_once(index: Index, hits: Iterable[Hit]) -> Iterator[Hit]:
    """The hits without those that show the same text of the same turn again: the output of a cell is also in a message
    to the model, and an answer is in the end of its cell and of its completion."""
    seen: set[tuple[str, ...]] = set()
    for hit in hits:
        key = (hit.run_id, _turn_of(index, hit), *_around(hit))
        if key not in seen:
            seen.add(key)
            yield hit


def _turn_of(index: Index, hit: Hit) -> str:
    """The id of the turn in which a hit's event happened; for an event of a completion itself, that of the last turn
    begun; empty if there was no turn."""
    path = index.path(hit.run_id, hit.span)
    if path and path[-1].kind == "completion":
        turns = index.spans(hit.run_id, hit.span, kind="turn", limit=0).rows
        return next((turn.id for turn in reversed(turns) if turn.first_seq <= hit.seq), "")
    return next((span.id for span in reversed(path) if span.kind == "turn"), "")


def _around(hit: Hit) -> tuple[str, str]:
    """The text before and after a hit, within its line and as far as `SAME_CHARS` goes."""
    before, after = hit.excerpt[: hit.start], hit.excerpt[hit.start :]
    return before.rpartition("\n")[2][-SAME_CHARS:], after.partition("\n")[0][: 2 * SAME_CHARS]


def _search_run(index: Index, needle: SearchText, record: Trajectory) -> Iterator[Hit]:
    digests = set(_blobs_with(needle, record.path.with_suffix(".blobs")))
    with open_record(record.path) as file:
        for offset, line in _lines_with(needle, digests, file):
            try:
                event = record.whole(decode(line))
            except (ValueError, RecursionError):
                continue
            seq = -1
            for place, text in texts(event.body):
                if (found := needle.in_text(text)) >= 0:
                    seq = seq if seq >= 0 else index.seq_at(record.run_id, offset)
                    yield _hit(record.run_id, event, (seq, place), text, (found, len(needle.text)))


def _hit(run_id: str, event: Event, where: tuple[int, str], text: str, found: tuple[int, int]) -> Hit:
    seq, place = where
    start = max(0, found[0] - EXCERPT_CHARS // 3)
    return Hit(
        run_id=run_id,
        seq=event.seq if seq < 0 else seq,
        at=event.at,
        span=event.span,
        type=event.type,
        field=place,
        excerpt=text[start : start + EXCERPT_CHARS],
        start=found[0] - start,
        length=min(found[1], EXCERPT_CHARS - (found[0] - start)),
    )


def texts(body: Any) -> Iterator[tuple[str, str]]:
    """Every text in a body with its dotted place, in order."""
    waiting: list[tuple[str, Any]] = [("", msgspec.to_builtins(body))]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, str):
            yield place, value
        elif isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            inner = [(f"{place}.{key}" if place else str(key), item) for key, item in items]
            waiting.extend(reversed(inner))


def _blobs_with(needle: SearchText, folder: Path) -> Iterator[str]:
    """The digests of the blobs that have the text."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for name in sorted(entry.name for entry in folder.iterdir()):
        if is_digest(name):
            try:
                with open_record(folder / name) as file:
                    if needle.in_blob(file):
                        yield name
            except ConfigError:  # a link, or not readable, so not a blob
                continue


def _lines_with(needle: SearchText, digests: set[str], file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The offset and content of each line that may have the text, or that names a blob which has it."""
    for offset, block in _blocks(file):
        places = list(needle.in_lines(block))
        if digests:
            places += [m.start() for m in _DIGEST.finditer(block) if m[1].decode() in digests]
        last = -1
        for place in sorted(places):
            if place < last:
                continue
            start = block.rfind(b"\n", 0, place) + 1
            last = block.find(b"\n", place) + 1 or len(block)
            yield offset + start, block[start:last]


def _blocks(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The file in blocks of whole lines, each with its offset; lines that are too long are skipped."""
    offset, rest = 0, b""
    while block := file.read(BLOCK_BYTES):
        whole = rest + block
        end = whole.rfind(b"\n") + 1
        if end:
            yield offset, whole[:end]
            offset, rest = offset + end, whole[end:]
        else:
            rest = whole if len(whole) <= LINE_BYTES else b"\0"
            offset += len(whole) - len(rest) if rest == b"\0" else 0
    if rest:
        yield offset, rest


def _pattern(text: str, encode: Callable[[str], bytes], *, any_case: bool) -> Callable[[bytes], Iterator[int]]:
    """A function that yields where the encoded text begins in a block."""
    encoded = encode(text)
    if not any_case:
        return lambda block: _find_all(block, encoded)
    if text.isascii():
        return lambda block: _find_all(block.lower(), encoded.lower())
    either = (b"|".join({re.escape(encode(case)) for case in (char, char.upper())}) for char in text)
    pattern = re.compile(b"".join(b"(?:" + both + b")" for both in either))
    return lambda block: (found.start() for found in pattern.finditer(block))


def _find_all(block: bytes, encoded: bytes) -> Iterator[int]:
    place = block.find(encoded)
    while place >= 0:
        yield place
        place = block.find(encoded, place + len(encoded))


def _as_utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _as_json(text: str) -> bytes:
    return escape_line_ends(msgspec.json.encode(escape_surrogates(text))[1:-1])
