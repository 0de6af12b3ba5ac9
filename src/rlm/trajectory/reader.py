"""Reads trajectories: line by line, while they grow, and by name in a folder of them.

A log may be torn, damaged or made by someone else: lines that are not events are counted and skipped, only regular
files are read, and no line beyond a cap. Making the texts in events safe is left to the readers.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rlm.core.events import CompletionEnd, Event, decode
from rlm.core.exceptions import ConfigError
from rlm.core.record.blobs import restored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rlm.core.events import Blob

LINE_BYTES = 16 << 20
"""A longer line is not an event."""
BLOB_BYTES = 256 << 20
"""A larger file is not a blob."""
POLL_S = 0.1
_RUN_ID = re.compile(r"[0-9a-f]{1,32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
SHOWN_MATCHES = 8
"""How many runs an error names where a name fits several."""


@dataclass(slots=True)
class Trajectory:
    """The file of one run; iterating reads it from the start, as far as it goes now."""

    path: Path
    skipped: int = 0
    """Lines of the last reading that are not events; a torn last line doesn't count."""

    @property
    def run_id(self) -> str:
        return self.path.stem

    def __iter__(self) -> Iterator[Event]:
        self.skipped = 0
        with open_record(self.path) as file:
            while (line := _next_line(file)) is not None:
                if (event := self._event(line)) is not None:
                    yield event

    def follow(self, wait: Callable[[float], None] = time.sleep) -> Iterator[Event]:
        """Every event so far, then each event as it is written, until the run ends or its writer is gone."""
        self.skipped, rest, last_look = 0, b"", False
        with open_record(self.path) as file:
            while True:
                while (line := _next_line(file)) is not None:
                    rest, whole = b"", rest + line
                    if not whole.endswith(b"\n") and len(whole) <= LINE_BYTES:
                        rest = whole
                        break
                    if (event := self._event(whole)) is not None:
                        yield event
                        if ends_run(event):
                            return
                if last_look:
                    return
                last_look = not is_written(file)
                if not last_look:
                    wait(POLL_S)

    def whole(self, event: Event) -> Event:
        """The event with all that was too large for its line; its `blobs` are those that are gone, altered or fit
        nowhere."""
        return restored(event, self._blob)

    def _blob(self, blob: Blob) -> str | None:
        """The text of a blob; None if the file isn't what its name says: it may be a link to any other file."""
        if not is_digest(blob.digest):
            return None
        try:
            with open_record(self.path.with_suffix(".blobs") / blob.digest) as file:
                content = file.read(BLOB_BYTES + 1)
            whole = len(content) <= BLOB_BYTES and hashlib.sha256(content).hexdigest() == blob.digest
            return content.decode("utf-8", "surrogatepass") if whole else None
        except (ConfigError, UnicodeDecodeError):
            return None

    def is_running(self) -> bool:
        """Whether a process is still writing the file."""
        with open_record(self.path) as file:
            return is_written(file)

    def _event(self, line: bytes) -> Event | None:
        try:
            event = decode(line)
        except (ValueError, RecursionError):
            self.skipped += line.endswith(b"\n") and bool(line.strip())
            return None
        return event


def ends_run(event: Event) -> bool:
    """Whether an event is the end of the root completion."""
    return event.parent is None and isinstance(event.body, CompletionEnd)


def is_written(file: IO[bytes]) -> bool:
    """Whether a writer holds the file: a writer keeps it locked, and the lock ends with its process."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks can't tell
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def is_run_id(name: str) -> bool:
    """Whether a name can be a run id; a path never is."""
    return _RUN_ID.fullmatch(name) is not None


def is_digest(name: str) -> bool:
    """Whether a name can be that of a blob."""
    return _DIGEST.fullmatch(name) is not None


def list_runs(log_dir: Path) -> list[Trajectory]:
    """The trajectories in a folder, the last written first; empty if the folder doesn't exist.

    Raises:
        ConfigError: the folder can't be read.
    """
    files = list_files(log_dir)
    latest_first = sorted(files, key=lambda run_id: files[run_id].st_mtime_ns, reverse=True)
    return [Trajectory(log_dir / f"{run_id}.jsonl") for run_id in latest_first]


def list_files(log_dir: Path) -> dict[str, os.stat_result]:
    """The records in a folder: what the file system says of each, by run id; empty if the folder doesn't exist.

    Raises:
        ConfigError: the folder can't be read.
    """
    try:
        with os.scandir(log_dir) as entries:
            named = [(entry.name[:-6], entry) for entry in entries if entry.name.endswith(".jsonl")]
            about = {run_id: entry.stat(follow_symlinks=False) for run_id, entry in named if is_run_id(run_id)}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{log_dir}: {error.strerror}\nname another folder with --log-dir") from error
    return {run_id: facts for run_id, facts in about.items() if stat.S_ISREG(facts.st_mode)}


def no_runs(log_dir: Path) -> ConfigError:
    """The error for a folder without records, which says whether the folder exists and where else to look."""
    where = log_dir.absolute()
    what = f"there are no runs in {where}" if where.is_dir() else f"there are no runs: {where} does not exist"
    return ConfigError(f"{what}\nrlm run records into logs in the folder where it is started; --log-dir names another")


def place_of(name: str, log_dir: Path) -> tuple[Path, str]:
    """The folder and the name of a run; where `name` is the path of a record, both are taken from that path."""
    path = Path(name)
    is_path = "/" in name or path.suffix == ".jsonl"
    return (path.parent, path.stem) if is_path else (log_dir, name)


def find_run(log_dir: Path, name: str) -> Trajectory:
    """The run that `name` means: `last` for the one written last, or an id, or the beginning of one.

    Raises:
        ConfigError: the name fits no run, or several.
    """
    runs = list_runs(log_dir)
    if not runs:
        raise no_runs(log_dir)
    if name == "last":
        return runs[0]
    matches = [run for run in runs if run.run_id.startswith(name.lower())]
    if not matches:
        raise ConfigError(f"no run in {log_dir} begins with {name!r}\nrlm logs list shows what there is")
    if len(matches) > 1:
        shown = ", ".join(run.run_id[:12] for run in matches[:SHOWN_MATCHES])
        raise ConfigError(f"{len(matches)} runs begin with {name!r}: {shown}\ngive more of the id")
    return matches[0]


def _next_line(file: IO[bytes]) -> bytes | None:
    """The next line, or the part of one at the end of the file; None after that. A line that is too long is skipped."""
    line = file.readline(LINE_BYTES)
    if len(line) < LINE_BYTES or line.endswith(b"\n"):
        return line or None
    while (more := file.readline(LINE_BYTES)) and not more.endswith(b"\n"):
        continue
    return b"\0\n"  # counted as a line that is not an event


def open_record(path: Path) -> IO[bytes]:
    """Open a file of a record; links are refused, for they may lead anywhere.

    Raises:
        ConfigError: it can't be read, or isn't a regular file.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = open(os.open(path, flags), "rb")  # noqa: PTH123, SIM115
    except OSError as error:
        said = "a link, not a regular file" if error.errno == errno.ELOOP else error.strerror
        raise ConfigError(f"{path}: {said}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ConfigError(f"{path}: not a regular file")
    return file
