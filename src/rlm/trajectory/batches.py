"""What the folder of a batch says: a line of its journal for each question that has ended; and what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from rlm.core.exceptions import ConfigError
from rlm.core.types import Json  # noqa: TC001 (msgspec reads it at run time)

if TYPE_CHECKING:
    from pathlib import Path

JOURNAL, MANIFEST = "journal.jsonl", "manifest.json"


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one question."""

    position: int
    id: str
    status: str
    """completed, limit, failed, cancelled, or refused where no run could be made of it."""
    answer: str = ""
    value: Json = None
    """The answer as the output schema has it; None without a schema."""
    limit: str | None = None
    error: str | None = None
    run: str = ""
    """The id of its last run; empty where there was none."""
    attempt: int = 0
    """The number of that run, from 0."""
    input_tokens: int = 0
    """What all its runs used, like those that follow."""
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = None
    """What all its runs cost; None where a price is unknown."""
    duration_s: float = 0.0
    elapsed_s: float = 0.0
    """For how long the batch had worked by then."""

    @property
    def is_completed(self) -> bool:
        return self.status == "completed"

    @property
    def reason(self) -> str:
        """Why there is no answer."""
        return self.error or self.limit or "no reason was given"

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens


def last_entries(path: Path) -> list[Entry]:
    """What became of each question that has ended, in their order, of a batch that may go on meanwhile.

    Raises:
        ConfigError: the journal can't be read.
    """
    found: dict[int, Entry] = {}
    try:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    entry = msgspec.json.decode(line, type=Entry)
                    found[entry.position] = entry
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} is not the journal of a batch: {error}") from error
    return [found[position] for position in sorted(found)]


class BatchAsked(Struct, frozen=True, kw_only=True):
    """What the manifest of a batch says that a reader wants to know; it has more."""

    questions: str
    """The path of the file of questions."""
    count: int
    """How many there are."""
    created_at: float = 0.0
    prompt: str = ""
    model: str | None = None
    log_dir: str = ""
    """Where the records of its runs are."""


def asked_for(log_dir: Path) -> tuple[Path, BatchAsked] | None:
    """The folder of the batch whose runs are recorded in `log_dir`, and what it was asked; None where that is no folder
    of a batch.
    """
    folder = log_dir.parent
    try:
        asked = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=BatchAsked)
    except (OSError, msgspec.MsgspecError):
        return None
    return (folder, asked) if asked.log_dir and log_dir.samefile(asked.log_dir) else None
