"""The folder of a batch: a manifest of what was asked, a journal of what came of it, the outputs, and the records.

The manifest is written once, before anything is asked. One process at a time works in a folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from rlm.core.exceptions import ConfigError
from rlm.core.types import Json  # noqa: TC001 (msgspec reads it at run time)
from rlm.core.whole_files import replace_file
from rlm.jobs.engines.successor import next_run_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = 1
FORMATS = ("jsonl", "csv", "parquet")
_MANIFEST = "manifest.json"


class BatchManifest(Struct, frozen=True, kw_only=True):
    """What a batch was asked; whoever resumes it asks the same."""

    version: int = VERSION
    rlm_version: str
    id: str
    """32 hex digits; the ids of its runs come from it."""
    created_at: float
    questions: str
    """The path of the file of questions."""
    digest: str
    """The SHA-256 of that file."""
    count: int
    """How many questions it has."""
    prompt: str | None = None
    """The template of the prompts."""
    columns: dict[str, str] = {}
    shared: list[str] = []
    """The files that every question is about."""
    output_schema: Json = None
    format: str = "jsonl"
    log_dir: str
    """The folder of the records."""
    model: str | None = None
    environment: str = ""

    def run_id(self, position: int, attempt: int) -> str:
        """The id of a run: known before it begins, so that a record on disk tells that it has begun."""
        run_id = hashlib.sha256(f"{self.id}/{position}".encode()).hexdigest()[:32]
        for _ in range(attempt):
            run_id = next_run_id(run_id)
        return run_id


class BatchFolder:
    """The folder of one batch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / "journal.jsonl"

    @property
    def exists(self) -> bool:
        """Whether a batch was begun in it."""
        return (self.path / _MANIFEST).exists()

    def outputs(self, form: str) -> Path:
        """The path of the outputs."""
        return self.path / f"results.{form}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out for as long as this context lasts. The folder is made if need be, and removed again
        where no batch was begun in it.

        Raises:
            ConfigError: another process works in it, or it can't be written.
        """
        lock = self.path / ".lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(f"{self.path} can't be written: {error.strerror}\nname another folder: --out") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise ConfigError(f"another process works on the batch in {self.path}: rlm ctl list shows it") from None
        finally:
            os.close(fd)
            if not self.exists:
                with suppress(OSError):  # where something else is in it
                    lock.unlink()
                    self.path.rmdir()

    def read(self) -> BatchManifest:
        """The manifest.

        Raises:
            ConfigError: there is none that can be read, or it is of another version.
        """
        path = self.path / _MANIFEST
        try:
            content = path.read_bytes()
            version = msgspec.json.decode(content, type=_Versioned).version
            if version != VERSION:
                raise ConfigError(
                    f"{self.path} has a batch of version {version}, and this rlm goes on with version {VERSION} alone\n"
                    "resume it with the rlm that made it, or choose another folder"
                )
            return msgspec.json.decode(content, type=BatchManifest)
        except FileNotFoundError:
            raise ConfigError(f"there is no batch in {self.path}: without --resume one is begun") from None
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise ConfigError(f"{path} is not the manifest of a batch: {error}") from error

    def begin(self, manifest: BatchManifest) -> None:
        """Write the manifest.

        Raises:
            ConfigError: there is a batch already, or the folder can't be written.
        """
        if self.exists or self.journal.exists():
            raise ConfigError(f"there is a batch in {self.path} already\n--resume goes on with it")
        try:
            content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
            replace_file(self.path / _MANIFEST, content + b"\n")
        except OSError as error:
            raise ConfigError(f"{self.path} can't be written: {error.strerror}\nname another folder: --out") from error


class _Versioned(Struct):
    version: int
