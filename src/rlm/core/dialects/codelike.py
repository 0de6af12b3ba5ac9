"""Judges whether a text is Python that was meant to run, without running it: what it assigns, which names it uses, and
what it gives to FINAL. Works on hostile text: nothing raises, nothing warns, and what is too large is not Python."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache

MAX_CHARS = 200_000
"""Beyond this a text is not parsed: a tree takes some hundred times the memory of its text."""
_REMEMBERED_CHARS = 4_000

STRING = r"""'''(?:[^'\\]|\\.|'(?!''))*(?:'''|\Z)|\"\"\"(?:[^"\\]|\\.|"(?!""))*(?:\"\"\"|\Z)"""
STRING += r"""|'(?:[^'\\\n]|\\.)*'?|"(?:[^"\\\n]|\\.)*"?|\#[^\n]*+"""
"""A pattern, for DOTALL, of a string of Python, closed or not, or of a comment."""
STRINGS = re.compile(STRING, re.DOTALL)
_ESCAPE = re.compile(r"\\(?:N\{[^{}\n]*\}|.)", re.DOTALL)
_HARMLESS = frozenset("\n\\'\"")
_ESCAPES = frozenset("\n\\'\"abfnrtvxuUN01234567")


def parse(text: str) -> ast.Module | None:
    """The tree of `text`, None where it isn't Python. The strings in it are exact but for their escapes."""
    if len(text) > MAX_CHARS:
        return None
    return _remembered(text) if len(text) <= _REMEMBERED_CHARS else _parsed(text)


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(_without_escapes(text))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


_remembered = lru_cache(maxsize=8)(_parsed)
"""The same code is looked at several times while its reply is read; nobody changes a tree."""


def literal(text: str) -> object:
    """The value of a Python literal.

    Raises:
        ValueError: it is none.
    """
    if len(text) > MAX_CHARS:
        raise ValueError("too long for a literal")
    try:
        return ast.literal_eval(_ESCAPE.sub(_doubled, text))
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"no Python literal: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantCall:
    """A call whose arguments are constants."""

    name: str
    arguments: dict[str, object]
    """By name; a lone argument without one is `code`."""


def constant_calls(text: str) -> list[ConstantCall]:
    """The call, or the list of calls, that a text is and nothing else; empty if it is anything else."""
    if len(text) > MAX_CHARS:
        return []
    try:
        value = ast.parse(_ESCAPE.sub(_doubled, text.strip()), mode="eval").body
        nodes = value.elts if isinstance(value, ast.List) else [value]
        return [_constant_call(node) for node in nodes]
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return []


def _constant_call(node: ast.expr) -> ConstantCall:
    """Raises TypeError or ValueError: it isn't one."""
    if not isinstance(node, ast.Call):
        raise TypeError("no call")
    name = ast.unparse(node.func)
    if name == "print" and len(node.args) == 1 and isinstance(node.args[0], ast.Call):
        return _constant_call(node.args[0])
    if len(node.args) > 1 or (node.args and node.keywords):
        raise ValueError("more than one argument without a name")
    named = [(keyword.arg or "", keyword.value) for keyword in node.keywords] or [("code", part) for part in node.args]
    return ConstantCall(name=name, arguments={key: ast.literal_eval(value) for key, value in named})


def constant(code: str) -> str | int | float | None:
    """The number or string that code is and nothing else, be it printed; None where it is anything else."""
    match parse(code):
        case ast.Module(body=[ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=[part], keywords=[]))]):
            value: ast.expr = part
        case ast.Module(body=[ast.Expr(value=part)]):
            value = part
        case _:
            return None
    try:
        found = literal(ast.unparse(value))
    except ValueError:
        return None
    return found if isinstance(found, str | int | float) else None


def acts(tree: ast.Module) -> bool:
    """Whether it does anything but name values: a list of results may well be Python, but nobody meant to run it."""
    idle = (ast.Expr, ast.AnnAssign)
    return any(not isinstance(line, idle) for line in tree.body) or any(isinstance(n, ast.Call) for n in ast.walk(tree))


def only_defines(tree: ast.Module) -> bool:
    """Whether it makes functions and classes, and does nothing with them."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    return all(isinstance(line, kinds) or _is_docstring(line) for line in tree.body)


def _is_docstring(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def names_used(tree: ast.Module) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def names_set(tree: ast.Module) -> set[str]:
    """Every name that is bound anywhere in it."""
    return {name for node in ast.walk(tree) if (name := _bound(node))}


def fixed_finals(tree: ast.Module) -> list[object]:
    """What it gives to FINAL that depends on no name: constants by their value, anything else as its syntax."""
    return [
        node.args[0].value if isinstance(node.args[0], ast.Constant) else node.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "FINAL" and node.args
        if not any(isinstance(part, ast.Name) for part in ast.walk(node.args[0]))
    ]


def _bound(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.alias(name=name, asname=other):
            return other or name
        case _:
            return None


def _without_escapes(text: str) -> str:
    """The text with plain characters for the escapes in its strings: an invalid one would warn the user."""
    return STRINGS.sub(lambda found: _ESCAPE.sub(_plain, found[0]), text) if "\\" in text else text


def _plain(escape: re.Match[str]) -> str:
    return escape[0] if escape[0][1] in _HARMLESS else "_"


def _doubled(escape: re.Match[str]) -> str:
    return escape[0] if escape[0][1] in _ESCAPES else "\\" + escape[0]
