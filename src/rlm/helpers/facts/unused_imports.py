"""`code.find_unused_imports`: uses Ruff's F401, which knows `__all__`, type comments, `TYPE_CHECKING` and `noqa`.

The files are read here and given to Ruff as copies in a private folder, with its configuration off: neither a
workspace's settings nor its symlinks reach it. The alternatives were Pyflakes (Ruff's model, slower and blind to
`noqa`), libcst's visitor (fifty times slower) and a check by symtable.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.extras import install_command
from rlm.helpers.facts.code_file import CodeFile
from rlm.helpers.facts.parsing import NotParsed, Unparsed, as_utf8
from rlm.helpers.facts.questions import FoundRows, content_of
from rlm.helpers.facts.rows import cut
from rlm.helpers.facts.survey import Where, survey
from rlm.helpers.operation import helper
from rlm.repl.spool_folders import SpoolFolder, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rlm.core.paths import ConfinedPath
    from rlm.core.types import Json
    from rlm.helpers.workspace import Workspace

_TIMEOUT_S = 120
_NAMED = re.compile(r"`([^`]+)`")
_BATCH = 2_000
_BATCH_BYTES = 64 << 20
"""The most files, and bytes, that Ruff is given at once."""
PREFIX = "rlm-imports-"
"""The beginning of the names of the folders with the copies that Ruff reads."""


class Position(msgspec.Struct, frozen=True):
    """A place in a file: row and column in characters, both from 1."""

    row: int
    column: int


class Replacement(msgspec.Struct, frozen=True):
    """A part of Ruff's fix: the text that comes between two places."""

    content: str
    location: Position
    end_location: Position


class Fix(msgspec.Struct, frozen=True):
    """Ruff's fix for a finding."""

    applicability: str
    edits: list[Replacement]


class ImportFinding(msgspec.Struct, frozen=True):
    """A finding of Ruff's."""

    filename: str
    message: str
    location: Position
    code: str | None = None
    fix: Fix | None = None

    @property
    def name(self) -> str:
        """The imported name, with its module; empty if the finding is not about one."""
        named = _NAMED.search(self.message)
        return "" if self.code != "F401" or named is None else named[1]


class Unused(msgspec.Struct, frozen=True, kw_only=True):
    """An import that nothing uses."""

    name: str
    """The imported name, with its module."""
    line: int


@helper("code.find_unused_imports", over_files=True)
def find_unused_imports(
    work: Workspace,
    path: str = ".",
    file_pattern: str = "**/*.py",
    limit: int | None = None,
    offset: int = 0,
) -> Json:
    """Find imports that nothing uses: their names and lines; a list for a file, a page for a folder.

    Args:
        path: A file or a folder.
        file_pattern: Which files of a folder.
        limit: The most rows; 1,000 of a folder if not given, 5,000 at most.
        offset: How many rows to leave out before them.
    """
    where = Where(work=work, path=path, file_pattern=file_pattern, limit=limit, offset=offset)
    sweep(PREFIX)
    return survey(where, "unused_imports", lambda places: _answers(where, places))


def _answers(where: Where, places: Sequence[ConfinedPath]) -> Iterator[FoundRows]:
    most, named = where.window.end, not where.is_file
    for batch, unparsed in _batches(where.work, places):
        answer = FoundRows(unparsed=unparsed)
        for file, found in unused_in(batch, answer.unparsed).items():
            unused = [Unused(name=cut(each.name), line=each.location.row) for each in found]
            answer.add(file if named else None, unused, most)
        yield answer


def _batches(work: Workspace, places: Sequence[ConfinedPath]) -> Iterator[tuple[dict[str, bytes], list[Unparsed]]]:
    """The files in UTF-8, in batches that fill neither memory nor disk, each with the files that can't be decoded."""
    batch, unparsed, batch_bytes = dict[str, bytes](), list[Unparsed](), 0
    for place in places:
        file = work.name(place.path)
        try:
            content = as_utf8(CodeFile(file, content_of(work, place)).python())
        except NotParsed as error:
            unparsed.append(error.of(file))
            continue
        if len(batch) == _BATCH or (batch and batch_bytes + len(content) > _BATCH_BYTES):
            yield batch, unparsed
            batch, unparsed, batch_bytes = {}, [], 0
        batch[file] = content
        batch_bytes += len(content)
    yield batch, unparsed


def unused_in(batch: dict[str, bytes], unparsed: list[Unparsed]) -> dict[str, list[ImportFinding]]:
    """The unused imports by file, in the order of the files; a file that crashes Ruff is found by halving the batch.

    `batch` has the content of each file in UTF-8, by its name. Files that Ruff can't parse go to `unparsed`. Raises:
        ConfigError: Ruff is not installed.
        ToolError: it took too long.
    """
    if not batch:
        return {}
    folder = SpoolFolder(PREFIX)
    try:
        names = _copied(batch, folder.path.resolve())
        findings = _ruff(folder.path.resolve())
    finally:
        folder.remove()
    if findings is not None:
        return _by_file(findings, names, unparsed)
    files = [*batch]
    if len(files) == 1:
        unparsed.append(Unparsed(file=files[0], error="it ended Ruff: nested too deep"))
        return {}
    half = len(files) // 2
    halves = ({file: batch[file] for file in part} for part in (files[:half], files[half:]))
    return {file: rows for part in halves for file, rows in unused_in(part, unparsed).items()}


def _copied(batch: dict[str, bytes], folder: Path) -> dict[str, str]:
    """Copy each file into the folder; returns the names of the files by those of their copies."""
    names: dict[str, str] = {}
    for number, (file, content) in enumerate(batch.items()):
        # Ruff goes by the name: an __init__ imports a package's face, a stub may use names before they are defined.
        suffix = ".pyi" if file.endswith(".pyi") else ".py"
        copy = folder / f"module_{number}{suffix}"
        if file.rpartition("/")[2] == f"__init__{suffix}":
            copy = folder / str(number) / f"__init__{suffix}"
            copy.parent.mkdir()
        copy.write_bytes(content)
        names[str(copy)] = file
    return names


def _by_file(
    findings: list[ImportFinding], names: dict[str, str], unparsed: list[Unparsed]
) -> dict[str, list[ImportFinding]]:
    found: dict[str, list[ImportFinding]] = {file: [] for file in names.values()}
    broken: dict[str, Unparsed] = {}
    for each in findings:
        file = names[each.filename]
        if each.name:
            found[file].append(each)
        else:
            error = f"syntax error: {each.message[:200]}"
            broken.setdefault(file, Unparsed(file=file, error=error, line=each.location.row))
    unparsed += broken.values()
    return {file: rows for file, rows in found.items() if rows}


def _ruff(folder: Path) -> list[ImportFinding] | None:
    """Ruff's findings; None if it crashed."""
    try:
        from ruff import find_ruff_bin

        program = find_ruff_bin()
    except (ImportError, FileNotFoundError) as error:
        raise ConfigError(f"finding unused imports needs Ruff\n{install_command('code')}") from error
    options = ["--isolated", "--no-cache", "--select", "F401", "--output-format", "json", "--exit-zero", "--quiet"]
    try:
        done = subprocess.run(  # noqa: S603 - Ruff itself, over copies in our own folder
            [program, "check", *options, "--no-respect-gitignore", "--", str(folder)],
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={},
        )
        return msgspec.json.decode(done.stdout, type=list[ImportFinding])
    except subprocess.TimeoutExpired as error:
        raise ToolError("Ruff took too long over these files: narrow the path.") from error
    except msgspec.DecodeError:
        return None
