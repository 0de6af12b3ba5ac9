"""The journal of a run: appends each event to `<log_dir>/<run_id>.jsonl` before anything else sees it.

When `write` returns, the operating system has the line, so that a kill loses nothing; at the end of each turn a thread
syncs the file to the device, so that a power cut loses at most the turn in progress. Each line carries its place in a
hash chain, and a receipt beside the file says whether the run was closed in order: see `chain`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import RecordError
from rlm.core.whole_files import sole_writer
from rlm.trajectory.chain import Chain, receipt_path, write_receipt
from rlm.trajectory.places import make_folder

if TYPE_CHECKING:
    from rlm.core.events import Event

SYNC_AT = frozenset({"turn.end", "completion.end", "tasks.start", "task.start", "task.end", "tasks.end"})


class TrajectoryWriter:
    """The file of one run, which only its owner can read."""

    def __init__(self, log_dir: Path, run_id: str, receipt_key: bytes | None = None) -> None:
        """Create the file, and `log_dir` if need be; with a key, nobody without it can forge the chain.

        Raises:
            RecordError: the file can't be created, or a link in the working directory leads `log_dir` out of it.
        """
        _refuse_to_be_led_out(log_dir)
        self.path = log_dir / f"{run_id}.jsonl"
        self._blobs = log_dir / f"{run_id}.blobs"
        self._chain = Chain(run_id, receipt_key)
        self._has_gap = False
        self._storing = threading.Lock()
        self.size_bytes = 0
        """How much was written so far, blobs included."""
        try:
            make_folder(log_dir)
            self._fd = self._begin()
        except OSError as error:
            raise RecordError(f"no trajectory can be written in {log_dir}: {error.strerror}; set log_dir") from error
        self._syncer = ThreadPoolExecutor(1, "rlm-sync")
        self._sync: Future[None] | None = None

    def _begin(self) -> int:
        """Create the file and its receipt; where that fails, neither is left."""
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            write_receipt(receipt_path(self.path), self._chain.receipt("open"))
            fcntl.flock(fd, fcntl.LOCK_EX)  # by the lock readers know that the run is alive
        except BaseException:
            os.close(fd)
            self.path.unlink(missing_ok=True)
            raise
        return fd

    def write(self, event: Event, line: bytes) -> None:
        whole = self._chain.add(line)
        self.size_bytes += len(whole)
        try:
            _write_all(self._fd, whole)
        except OSError:  # a part of the line may be there
            self.give_up()
            raise
        if event.type in SYNC_AT:
            self._start_sync()

    def store(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        target = self._blobs / digest
        with self._storing:
            if not target.exists():
                self._blobs.mkdir(mode=0o700, exist_ok=True)
                self.size_bytes += len(content)
                with sole_writer(target) as file:
                    file.write(content)
        return digest

    def give_up(self) -> None:
        self._has_gap = True

    def close(self) -> None:
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        self._syncer.shutdown(wait=True)
        try:
            _datasync(fd)
            if not self._has_gap:
                write_receipt(receipt_path(self.path), self._chain.receipt("closed", os.fstat(fd).st_size))
        finally:
            os.close(fd)

    def _start_sync(self) -> None:
        """Sync in the thread unless a sync is under way; the error of a failed sync is raised at the next."""
        if self._sync is not None:
            if not self._sync.done():
                return
            self._sync.result()
        self._sync = self._syncer.submit(_datasync, self._fd)


def _refuse_to_be_led_out(log_dir: Path) -> None:
    """Refuse a relative folder that a link leads out of the working directory: a cloned project may bring such a link
    along. A user who means it names the place itself.

    Raises:
        RecordError: `log_dir` leads out of the working directory.
    """
    if log_dir.is_absolute():
        return
    here = Path.cwd()
    leads_to, said = (here / log_dir).resolve(), os.path.normpath(here / log_dir)
    if leads_to != Path(said) and not leads_to.is_relative_to(here):
        raise RecordError(
            f"no trajectory is written in {log_dir}: a link leads it out of this folder, to {leads_to}\n"
            f"if that is meant: --log-dir {leads_to}, or log_dir in your own configuration"
        )


def _datasync(fd: int) -> None:
    try:
        os.fdatasync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system without sync keeps what it can
            raise


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
