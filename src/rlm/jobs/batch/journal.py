"""What became of the questions of a batch: one line for each that has ended, in the order in which they end. A question
that is asked again gets another line, and its last one counts. In memory is where the line of each begins, no more.
"""

from __future__ import annotations

import os
from array import array
from typing import IO, TYPE_CHECKING

import msgspec

from rlm.core.exceptions import ConfigError, RecordError
from rlm.core.texts import change_texts, escape_surrogates
from rlm.trajectory.batches import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NOT_YET = -1


class BatchJournal:
    """The journal of one batch, held by one process."""

    def __init__(self, path: Path, count: int) -> None:
        """Open it, at its end; a line that a kill or a power cut left half written is removed: its run has a record.

        Raises:
            ConfigError: it can't be read or written.
        """
        self._path = path
        self._places = array("q", [_NOT_YET]) * count
        self._is_completed = bytearray(count)
        self.ended = 0
        """How many questions have ended, one way or another."""
        self.completed = 0
        """How many of them have an answer."""
        try:
            self._file: IO[bytes] = path.open("a+b")
            self._read()
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error

    def __contains__(self, position: int) -> bool:
        return self._places[position] != _NOT_YET

    def __iter__(self) -> Iterator[Entry]:
        """What became of each question that has ended, in the order of the questions."""
        with self._path.open("rb") as file:
            for place in self._places:
                if place != _NOT_YET:
                    file.seek(place)
                    yield msgspec.json.decode(file.readline(), type=Entry)

    def is_completed(self, position: int) -> bool:
        """Whether a question has an answer."""
        return bool(self._is_completed[position])

    def get(self, position: int) -> Entry | None:
        """What became of a question; None while it has not ended."""
        if position not in self:
            return None
        with self._path.open("rb") as file:
            file.seek(self._places[position])
            return msgspec.json.decode(file.readline(), type=Entry)

    def add(self, entry: Entry) -> None:
        """Write down what became of a question.

        Raises:
            RecordError: it can't be written.
        """
        line = msgspec.json.encode(change_texts(entry, escape_surrogates)) + b"\n"
        try:
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise RecordError(f"{self._path} can't be written: {error.strerror}\n--resume goes on") from error
        self._note(entry, place)

    def close(self) -> None:
        """Sync it to disk and close it."""
        os.fsync(self._file.fileno())
        self._file.close()

    def _read(self) -> None:
        self._file.seek(0)
        whole = 0
        for line in self._file:
            try:
                entry = msgspec.json.decode(line, type=Entry) if line.endswith(b"\n") else None
            except msgspec.MsgspecError:
                entry = None
            if entry is None:
                break
            if not 0 <= entry.position < len(self._places):
                raise ConfigError(f"{self._path} is not of this batch: it has a question {entry.position}")
            self._note(entry, whole)
            whole += len(line)
        self._file.truncate(whole)

    def _note(self, entry: Entry, place: int) -> None:
        self.ended += entry.position not in self
        self.completed += entry.is_completed - self._is_completed[entry.position]
        self._places[entry.position] = place
        self._is_completed[entry.position] = entry.is_completed
