"""One file of code as a question sees it: its bytes, and what its language can tell of them."""

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
        """Take its content; the name tells the language."""
        self.content = content
        self.broken: NotParsed | None = None
        """What a parser that goes on after an error could not read: what was told may lack something."""
        self._grammar = grammar_of(name)
        self._is_named_python = PurePosixPath(name).suffix.lower() in _PYTHON

    @property
    def lines(self) -> int:
        """How many lines it has, as Python's parser counts them."""
        return len(self.content.splitlines())

    def python(self) -> bytes:
        """The bytes, where they are to be taken for Python.

        Raises:
            NotParsed: it is another language.
        """
        if self._grammar is not None:
            raise NotParsed("this is told of Python alone")
        return self.content

    def mentions(self, name: str) -> bool:
        """Whether a name can stand in it as Python: asked before it is parsed, which takes a hundred times longer.

        Raises:
            NotParsed: it is another language.
        """
        content = self.python()  # where it isn't ASCII, other characters may spell the same name
        return not content.isascii() or name.encode("utf-8", "replace") in content

    def tree(self) -> ast.Module:
        """The tree of Python.

        Raises:
            NotParsed: it can't be parsed, or is another language.
        """
        try:
            return parsed(self.python())
        except NotParsed as error:
            if self._is_named_python or self._grammar is not None:
                raise
            raise NotParsed(f"a language that is not read; as Python it has a {error.reason}", error.line) from error

    def facts(self) -> Facts:
        """Its functions and classes.

        Raises:
            NotParsed: it is Python that can't be parsed.
            ConfigError: the grammar of its language is not installed.
        """
        if self._grammar is None:
            return facts_of(self.tree())
        facts = foreign_facts(self.content, self._grammar)
        if facts.broken_line is not None:
            self.broken = NotParsed("syntax error: what is near it may be missing", facts.broken_line)
        return facts
