"""`code.find_unused_imports`: by Ruff's F401, which knows `__all__`, type comments, `TYPE_CHECKING` and `noqa`.

The files are read here and given to Ruff as copies in a private folder, with its configuration off: neither a
workspace's settings nor its symlinks reach it. Pyflakes (Ruff's model, slower and blind to `noqa`), libcst's visitor
(fifty times slower) and a check by symtable were weighed.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import ConfigError, ToolError
from rlm.helpers.code_answers import content_of
from rlm.helpers.code_parsing import NotParsed, Unparsed, as_utf8
from rlm.helpers.code_survey import MAX_ROWS, Where, Window, told, troubles
from rlm.helpers.helper import helper
from rlm.helpers.workspace import Skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.paths import Place
    from rlm.core.types import Json
    from rlm.helpers.workspace import Workspace

_TIMEOUT_S = 120
_NAMED = re.compile(r"`([^`]+)`")
_BATCH = 2_000


class _At(msgspec.Struct, frozen=True):
    row: int


class _Finding(msgspec.Struct, frozen=True):
    filename: str
    message: str
    location: _At
    code: str | None = None


class Unused(msgspec.Struct, frozen=True, kw_only=True):
    """An import that nothing uses."""

    name: str
    """What is imported, with its module."""
    line: int


@helper("code.find_unused_imports")
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
    skipped, unparsed = Skipped(), list[Unparsed]()
    places = [work.existing(path)] if where.is_file else where.places(skipped)
    found: dict[str, list[Unused]] = {}
    for start in range(0, len(places), _BATCH):
        found |= _unused(work, places[start : start + _BATCH], unparsed)
    if where.is_file:
        if unparsed:
            raise ToolError(told(unparsed[0]))
        window = Window.of(limit, offset, MAX_ROWS)
        own = [msgspec.to_builtins(each) for each in next(iter(found.values()), [])]
        return own[offset : window.end]
    window = Window.of(limit, offset)
    rows: list[Json] = [{"file": file, **msgspec.to_builtins(each)} for file, all_ in found.items() for each in all_]
    page: dict[str, Json] = {"unused_imports": rows[offset : window.end], "total": len(rows), "files": len(places)}
    if window.end < len(rows):
        page["next_offset"] = window.end
    return page | troubles(unparsed, skipped)


def _unused(work: Workspace, places: Sequence[Place], unparsed: list[Unparsed]) -> dict[str, list[Unused]]:
    """The unused imports by file, in the order of the files; a file that ends Ruff is found by halves."""
    with TemporaryDirectory(prefix="rlm-imports-") as folder:
        names: dict[str, str] = {}
        unread: list[Unparsed] = []
        for number, place in enumerate(places):
            # What a package's __init__ imports is its face: Ruff goes by the name.
            name = "__init__.py" if place.parts[-1] == "__init__.py" else "module.py"
            copy = Path(folder).resolve() / str(number) / name
            try:
                content = as_utf8(content_of(work, place))
            except NotParsed as error:
                unread.append(error.of(work.name(place.path)))
                continue
            copy.parent.mkdir()
            copy.write_bytes(content)
            names[str(copy)] = work.name(place.path)
        found: dict[str, list[Unused]] = {file: [] for file in names.values()}
        findings = _ruff(folder) if names else []
        for finding in findings or ():
            _take(finding, names[finding.filename], found, unread)
    if findings is not None:
        unparsed += unread
        return {file: rows for file, rows in found.items() if rows}
    if len(places) > 1:
        half = len(places) // 2
        return _unused(work, places[:half], unparsed) | _unused(work, places[half:], unparsed)
    unparsed.append(Unparsed(file=work.name(places[0].path), error="it ended Ruff: nested too deep"))
    return {}


def _take(finding: _Finding, file: str, found: dict[str, list[Unused]], unparsed: list[Unparsed]) -> None:
    named = _NAMED.search(finding.message)
    if finding.code == "F401" and named is not None:
        found[file].append(Unused(name=named[1], line=finding.location.row))
    elif file not in {each.file for each in unparsed[-1:]}:
        unparsed.append(Unparsed(file=file, error=f"syntax error: {finding.message[:200]}", line=finding.location.row))


def _ruff(folder: str) -> list[_Finding] | None:
    """What Ruff finds; None where it could not come to an end."""
    try:
        from ruff import find_ruff_bin

        program = find_ruff_bin()
    except (ImportError, FileNotFoundError) as error:
        raise ConfigError("finding unused imports needs Ruff: pip install 'rlm-runtime[code]'") from error
    options = ["--isolated", "--no-cache", "--select", "F401", "--output-format", "json", "--exit-zero", "--quiet"]
    try:
        done = subprocess.run(  # noqa: S603 - Ruff itself, over copies in our own folder
            [program, "check", *options, "--no-respect-gitignore", "--", folder],
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={},
        )
        return msgspec.json.decode(done.stdout, type=list[_Finding])
    except subprocess.TimeoutExpired as error:
        raise ToolError("Ruff took too long over these files: narrow the path.") from error
    except msgspec.DecodeError:
        return None
