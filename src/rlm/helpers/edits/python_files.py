"""Python files that are to be changed: read exactly, parsed, and parsed again after the change."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from io import BytesIO
from tokenize import detect_encoding
from typing import TYPE_CHECKING

from rlm.core.contexts.context import printable
from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.edits.spans import Layout
from rlm.helpers.facts.parsing import MAX_PARSED_BYTES, NotParsed, parsed
from rlm.helpers.facts.python import blocks
from rlm.helpers.text_files import NotText, SourceText

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from rlm.helpers.facts.unread import Unread
    from rlm.helpers.workspace import Workspace

_HEAD_BYTES = 8 << 10
"""The bytes in which the first or second line may name the encoding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonFile:
    """One file and its tree."""

    source: SourceText
    tree: ast.Module
    layout: Layout

    @property
    def name(self) -> str:
        return self.source.name

    @classmethod
    def of(cls, source: SourceText) -> PythonFile:
        """Parse a file.

        Raises:
            NotParsed: the file can't be parsed.
        """
        assert source.content is not None
        if source.encoding != "utf-8" or source.errors != "strict" or may_name_encoding(source.content):
            source = _as_declared(source)
        return cls(source=source, tree=parsed(source.text), layout=Layout(source.text))


def may_name_encoding(content: bytes) -> bool:
    """Whether a line of the file may name another encoding than UTF-8."""
    return b"coding" in content[:_HEAD_BYTES]


def _as_declared(source: SourceText) -> SourceText:
    """The file decoded as its coding line says, rather than by a guess.

    Raises:
        NotParsed: there is no such line, or the text is not in that encoding.
    """
    assert source.content is not None
    if len(source.content) > MAX_PARSED_BYTES:
        raise NotParsed(f"larger than {MAX_PARSED_BYTES:,} bytes, the most that is parsed")
    try:
        encoding = detect_encoding(BytesIO(source.content).readline)[0].removesuffix("-sig")
        text = source.content[len(source.mark) :].decode(encoding)
        exact = text.encode(encoding) == source.content[len(source.mark) :]
    except (SyntaxError, UnicodeError, LookupError) as error:
        raise NotParsed(f"broken encoding: {error}") from error
    if not exact:
        raise NotParsed(f"its text in {encoding} would not come out as it is")
    plain = text if source.is_mixed or source.newline == "\n" else text.replace(source.newline, "\n")
    return replace(source, encoding=encoding, errors="strict", text=plain)


def outline(tree: ast.Module, without: Container[ast.stmt] = ()) -> list[tuple[int, str]]:
    """The depth and kind of each statement of a module, without `pass`, strings and those in `without`; both forms of
    import are one kind.

    It checks operations on whole statements: all others must stay where they were.
    """
    found: list[tuple[int, str]] = []
    waiting: list[tuple[int, ast.stmt]] = [(0, each) for each in reversed(tree.body)]
    while waiting:
        depth, statement = waiting.pop()
        if statement not in without and not isinstance(statement, ast.Pass) and not _is_text(statement):
            found.append((depth, type(statement).__name__.removesuffix("From")))
            waiting += [(depth + 1, each) for inner in blocks(statement) for each in inner][::-1]
    return found


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def python_files(
    work: Workspace,
    file_pattern: str,
    path: str,
    unread: Unread,
    is_wanted: Callable[[str, bytes], bool],
) -> Iterator[PythonFile]:
    """The Python files at `path` whose names and bytes are wanted; those that can't be parsed go to `unread`.

    Raises:
        ToolError: `path` is refused, or is a file that can't be parsed.
    """
    for place, content in work.contents(file_pattern, path, skipped=unread.skipped):
        name = work.name(place.path)
        if not name.isprintable():
            unread.skipped.unreadable.append(printable(name))
            continue
        if not is_wanted(name, content):
            continue
        try:
            yield PythonFile.of(SourceText.of(place, name, content))
        except NotText:
            unread.skipped.binary += 1
        except NotParsed as error:
            unread.unparsed.append(error.of(name))


def refuse_unparsed_file(work: Workspace, path: str, unread: Unread) -> None:
    """If `path` is a file, check that it could be parsed.

    Raises:
        ToolError: it couldn't.
    """
    if unread.unparsed and work.is_file(path):
        unread.refuse_one()


def parsed_again(file: PythonFile, text: str, operation: str) -> ast.Module:
    """The tree of a changed text.

    Raises:
        ToolError: it no longer parses, through a defect of the operation; nothing is written.
    """
    try:
        return parsed(text)
    except NotParsed as error:
        raise ToolError(
            f"{operation}: {shown(file.name)} would not parse any more (line {error.line}: {error.reason}); "
            "nothing was changed."
        ) from error
