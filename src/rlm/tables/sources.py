"""The files that a user gave as tables: what each is, by its content, and how its tables are called."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rlm.core.contexts.context import printable
from rlm.core.exceptions import ConfigError
from rlm.documents.kinds import kind_of
from rlm.files.encodings import HEAD_BYTES, why_binary
from rlm.files.streams import COMPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

Form = Literal["csv", "tsv", "jsonl", "parquet", "sqlite", "sheets"]
_SQLITE, _PARQUET = b"SQLite format 3\0", b"PAR1"
_JSON_NAMES = (".jsonl", ".ndjson", ".json")
_TSV_NAMES = (".tsv", ".tab")
_PACKED = re.compile(r"\.(?:gz|zst)$", re.IGNORECASE)
_FORMS = "CSV, TSV, JSON lines, Parquet, SQLite, xlsx or ods"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """A file with tables."""

    name: str
    """What its table is called in SQL; of several in it, what their names begin with."""
    path: str
    """Absolute, free of symlinks."""
    form: Form

    @property
    def is_database(self) -> bool:
        """Whether it holds tables of its own names, which are asked in its own language."""
        return self.form == "sqlite"


def table_files(paths: Iterable[str]) -> tuple[TableFile, ...]:
    """The files at these paths, each with a name of its own. Raises:
    ConfigError: one is missing, unreadable or no table.
    """
    found: dict[str, TableFile] = {}
    for path in paths:
        name = unused(_name_of(path), found)
        found[name] = TableFile(name=name, path=os.path.realpath(path), form=_form_of(path))
    return tuple(found.values())


def unused(name: str, known: Iterable[str]) -> str:
    """The name itself, or with a number where it is known already, whatever the case of its letters."""
    taken, number, made = {each.lower() for each in known}, 1, name
    while made.lower() in taken:
        number += 1
        made = f"{name}_{number}"
    return made


def plain_name(text: str) -> str:
    """A name that SQL takes without quotes."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower()
    return name if name and not name[0].isdecimal() else f"t_{name}".rstrip("_")


def _name_of(path: str) -> str:
    return plain_name(Path(_PACKED.sub("", Path(path).name)).stem)


def _form_of(path: str) -> Form:
    try:
        if not Path(path).is_file():
            raise ConfigError(f"{printable(path)} is no file: a table is a file of {_FORMS}.")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{printable(path)} cannot be read: {error.strerror}.") from error
    try:
        head = os.pread(descriptor, HEAD_BYTES, 0)
        is_sheets = kind_of(descriptor) == "zip"
    finally:
        os.close(descriptor)
    if head.startswith(_SQLITE):
        return "sqlite"
    if head.startswith(_PARQUET):
        return "parquet"
    if is_sheets:
        return "sheets"
    return _form_of_text(path, head)


def _form_of_text(path: str, head: bytes) -> Form:
    packed = next((each.name for each in COMPRESSIONS if each.begins(head)), None)
    if packed not in (None, "gzip", "zstd") or (packed is None and (why := why_binary(head)) is not None):
        said = why if packed is None else f"{packed} data: unpack it first"
        raise ConfigError(f"{printable(path)} is no table ({_FORMS}): it is {said}.")
    name = _PACKED.sub("", path.lower())
    if name.endswith(_JSON_NAMES) or (packed is None and head.lstrip().startswith(b"{")):
        return "jsonl"
    return "tsv" if name.endswith(_TSV_NAMES) else "csv"
