"""The receipt of a task or a list, in Markdown: what was asked, by which model, what it took and what came of it, with
what its record can be checked by."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError, RLMError
from rlm.core.plain import one_line, plain
from rlm.core.whole_files import replace_file
from rlm.trajectory.chain import receipt_key
from rlm.trajectory.receipts import Verification, verify

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rlm.jobs.tasks.values import TaskOutcome

ENDING = ".report.md"
_BLOCK_BYTES = 1 << 20
_PROMPT_CHARS = 4_000
_ANSWER_CHARS = 4_000


def write_receipt_of(outcome: TaskOutcome, prompt: str, model: str, folder: Path) -> Path:
    """Write the receipt of a task beside the record of its run, and return its path; blocks while it reads that.

    Raises:
        ConfigError: it can't be written.
    """
    path = folder / f"{outcome.run_id}{ENDING}"
    try:
        replace_file(path, receipt_of(outcome, prompt, model, folder).encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return path


def receipt_of(outcome: TaskOutcome, prompt: str, model: str, folder: Path) -> str:
    """The receipt of a task, whose record lies in `folder`."""
    record = folder / f"{outcome.run_id}.jsonl"
    cost = "unknown" if outcome.cost_usd is None else f"${outcome.cost_usd:.4f}"
    verdict = "nobody was asked" if outcome.is_valid is None else ("valid" if outcome.is_valid else "not valid")
    rows = [
        ("state", outcome.state + (f": {outcome.error}" if outcome.error else "")),
        ("model", model),
        ("run", outcome.run_id),
        ("attempts", str(outcome.attempts)),
        ("time", f"{outcome.duration_s:.1f} s"),
        ("tokens", f"{outcome.tokens:,}"),
        ("cost", cost),
        ("verdict", verdict + (f": {outcome.verdict}" if outcome.verdict else "")),
        ("record", checked(record).message),
        ("SHA-256 of the record", digest_of_file(record)),
        ("created", ", ".join((*outcome.created, *outcome.files)) or "nothing"),
        ("modified", ", ".join(outcome.modified) or "nothing"),
    ]
    table = "\n".join(f"| {name} | {_cell(value)} |" for name, value in rows)
    return (
        f"# Receipt: {_cell(outcome.id)}\n\n| | |\n|---|---|\n{table}\n\n"
        f"## Task\n\n{_quoted(prompt[:_PROMPT_CHARS])}\n\n## Answer\n\n{_quoted(outcome.response[:_ANSWER_CHARS])}\n"
    )


def report_of(checks: Iterable[tuple[str, Verification]]) -> str:
    """A report of checks of records, each with the name of what the record is of."""
    rows = [
        f"| {_cell(name)} | {found.run_id[:12]} | {found.verdict} | {_cell(found.message)} |" for name, found in checks
    ]
    return "\n".join(("# Records checked", "", "| what | record | verdict | |", "|---|---|---|---|", *rows)) + "\n"


def checked(record: Path) -> Verification:
    """What a check of a record finds; one that can't be read is not as it was written.

    Raises:
        ConfigError: the key of receipts is too short to be one.
    """
    key = receipt_key(os.environ)
    try:
        return verify(record, key)
    except RLMError as error:
        return Verification(run_id=record.stem, verdict="altered", message=f"it can't be read: {error}")


def digest_of_file(path: Path) -> str:
    """The SHA-256 of a file in hex; a dash where it can't be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError:
        return "-"
    return digest.hexdigest()


def _cell(text: str) -> str:
    return one_line(text, 500).replace("|", "\\|")


def _quoted(text: str) -> str:
    """A text as a quotation, in which no line can be taken for one of the report."""
    return "\n".join(f"> {line}" for line in plain(text).splitlines()) or "> (nothing)"
