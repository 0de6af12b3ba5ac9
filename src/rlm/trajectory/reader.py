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
from contextlib import closing
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
PROJECT_DIGEST_CHARS = 12
_PROJECT = re.compile(rf"[\w.-]+-[0-9a-f]{{{PROJECT_DIGEST_CHARS}}}", re.ASCII)
"""The name of a folder of the records of one project; a folder of such folders has the records of all of them."""
_NAMED_CHARS = 8
"""So much of an id has to be given for a run of another project."""
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
                if (event := self.event_of(line)) is not None:
                    yield event

    def follow(self, wait: Callable[[float], None] = time.sleep) -> Iterator[Event]:
        """Every event so far, then each event as it is written, until the run ends or its writer is gone."""
        self.skipped, last_look = 0, False
        with closing(Tail(self)) as tail:
            while True:
                for event in tail.read():
                    yield event
                    if ends_run(event):
                        return
                if last_look:
                    return
                last_look = not tail.is_written
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

    def event_of(self, line: bytes) -> Event | None:
        """The event of a line; None, and counted, where it is none."""
        try:
            event = decode(line)
        except (ValueError, RecursionError):
            self.skipped += line.endswith(b"\n") and bool(line.strip())
            return None
        return event


class Tail:
    """A record that is read while it grows."""

    def __init__(self, run: Trajectory) -> None:
        """Raises:
        ConfigError: it can't be read.
        """
        self._run = run
        self._file = open_record(run.path)
        self._rest = b""

    @property
    def is_written(self) -> bool:
        """Whether a process is still writing it."""
        return is_written(self._file)

    def read(self) -> Iterator[Event]:
        """The events that have come since the last reading."""
        while (line := _next_line(self._file)) is not None:
            self._rest, whole = b"", self._rest + line
            if not whole.endswith(b"\n") and len(whole) <= LINE_BYTES:
                self._rest = whole
                return
            if (event := self._run.event_of(whole)) is not None:
                yield event

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()


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


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A record as a folder has it."""

    path: Path
    about: os.stat_result
    """What the file system says of it."""


def list_runs(log_dir: Path) -> list[Trajectory]:
    """The trajectories in a folder, the last written first; empty if the folder doesn't exist.

    Raises:
        ConfigError: the folder can't be read.
    """
    latest_first = sorted(list_files(log_dir).values(), key=lambda file: file.about.st_mtime_ns, reverse=True)
    return [Trajectory(file.path) for file in latest_first]


def list_files(log_dir: Path) -> dict[str, RecordFile]:
    """The records in a folder and in the folders of projects in it, by run id; empty if the folder doesn't exist.

    Raises:
        ConfigError: the folder can't be read.
    """
    found, projects = _listed(log_dir)
    for project in projects:
        try:
            found |= _listed(project)[0]
        except ConfigError:  # one folder that can't be read must not hide the others
            continue
    return found


def _listed(folder: Path) -> tuple[dict[str, RecordFile], list[Path]]:
    """The records in a folder, by run id, and the folders of projects in it."""
    found: dict[str, RecordFile] = {}
    projects: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".jsonl") and is_run_id(entry.name[:-6]):
                    about = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(about.st_mode):
                        found[entry.name[:-6]] = RecordFile(Path(folder, entry.name), about)
                elif _PROJECT.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    projects.append(Path(folder, entry.name))
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}\nname another folder with --log-dir") from error
    return found, sorted(projects)


def no_runs(log_dir: Path) -> ConfigError:
    """The error for a folder without records, which says whether the folder exists and where else to look."""
    where = log_dir.absolute()
    what = f"there are no runs in {where}" if where.is_dir() else f"there are no runs: {where} does not exist"
    return ConfigError(
        f"{what}\neach project has a folder of its own: rlm logs list --all shows all runs, --log-dir names another"
    )


def place_of(name: str, log_dir: Path) -> tuple[Path, str]:
    """The folder and the name of a run; where `name` is the path of a record, both are taken from that path.

    An id, or enough of one, of which the project's folder has no run may name a run of another project.
    """
    path = Path(name)
    if "/" in name or path.suffix == ".jsonl":
        return path.parent, path.stem
    beginning = name.lower()
    if len(name) < _NAMED_CHARS or not is_run_id(beginning) or not _PROJECT.fullmatch(log_dir.name):
        return log_dir, name
    if _begins_one(log_dir, beginning):
        return log_dir, name
    elsewhere = [folder for folder in _projects_beside(log_dir) if _begins_one(folder, beginning)]
    return (elsewhere[0] if len(elsewhere) == 1 else log_dir), name


def _projects_beside(log_dir: Path) -> list[Path]:
    return _listed(log_dir.parent)[1]


def _begins_one(folder: Path, beginning: str) -> bool:
    """Whether the id of a run in a folder begins so."""
    try:
        return any(run_id.startswith(beginning) for run_id in _listed(folder)[0])
    except ConfigError:
        return False


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
