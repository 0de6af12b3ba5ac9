"""One file of code as a question sees it: its bytes, and what can be read from them in its language."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from rlm.helpers.facts.foreign import foreign_facts
from rlm.helpers.facts.grammars import grammar_of
from rlm.helpers.facts.parsing import NotParsed, parsed
from rlm.helpers.facts.python import facts_of

if TYPE_CHECKING:
    import ast

    from rlm.helpers.facts.rows import Facts

_PYTHON: Final = frozenset(("", ".py", ".pyi", ".pyw"))


class CodeFile:
    """The bytes of a file, parsed when a question needs it."""

    def __init__(self, name: str, content: bytes) -> None:
        """Take the content of a file; its name tells the language."""
        self.content = content
        self.broken: NotParsed | None = None
        """The first error, if the parser went on after it: the facts may lack something then."""
        self._grammar = grammar_of(name)
        self._is_named_python = PurePosixPath(name).suffix.lower() in _PYTHON

    @property
    def lines(self) -> int:
        """How many lines the file has, as Python's parser counts them."""
        return len(self.content.splitlines())

    def python(self) -> bytes:
        """The bytes of a Python file.

        Raises:
            NotParsed: the file is in another language.
        """
        if self._grammar is not None:
            raise NotParsed("only Python can be asked this")
        return self.content

    def mentions(self, name: str) -> bool:
        """Whether a name can occur in the file; far cheaper than parsing it, which takes a hundred times longer.

        Raises:
            NotParsed: the file is in another language.
        """
        content = self.python()  # unless it is ASCII, other characters may spell the same name
        return not content.isascii() or name.encode("utf-8", "replace") in content

    def tree(self) -> ast.Module:
        """The tree of a Python file.

        Raises:
            NotParsed: the file can't be parsed, or is in another language.
        """
        try:
            return parsed(self.python())
        except NotParsed as error:
            if self._is_named_python or self._grammar is not None:
                raise
            raise NotParsed(f"a language that is not read; as Python it has a {error.reason}", error.line) from error

    def facts(self) -> Facts:
        """The functions and classes of the file.

        Raises:
            NotParsed: the file is Python and can't be parsed.
            ConfigError: the grammar of its language is not installed.
        """
        if self._grammar is None:
            return facts_of(self.tree())
        facts = foreign_facts(self.content, self._grammar)
        if facts.broken_line is not None:
            self.broken = NotParsed("syntax error: what is near it may be missing", facts.broken_line)
        return facts
