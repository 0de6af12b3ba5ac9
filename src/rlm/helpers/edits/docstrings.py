"""`transform.add_docstrings`: writes missing docstrings of functions, from their signatures and raises."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Literal

from rlm.helpers.edits.docstring_styles import Described, Parameter, docstring
from rlm.helpers.edits.rewrites import Rewrite, RewritePlan
from rlm.helpers.edits.spans import TextSpan
from rlm.helpers.facts.python import FunctionNode, blocks, dotted, has_docstring
from rlm.helpers.operation import helper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.helpers.changes import Edit
    from rlm.helpers.edits.docstring_styles import Style
    from rlm.helpers.edits.python_files import PythonFile
    from rlm.helpers.edits.spans import Layout
    from rlm.helpers.workspace import Workspace

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.ClassDef, ast.Lambda)
_GENERATORS = ("Iterator", "Iterable", "Generator", "AsyncIterator", "AsyncIterable", "AsyncGenerator")
_TYPE_CHARS = 60
_HEADER = re.compile(rb"[()\[\]:]|#[^\r\n]*")
"""Matches what tells where the header of a function ends, after its parameters and what it returns."""
_INDENT = re.compile(rb"[ \t\f]*")


@helper("transform.add_docstrings", right="write", over_files=True)
def add_docstrings(
    work: Workspace,
    path: str = ".",
    style: Literal["google", "numpy", "sphinx"] = "google",
    file_pattern: str = "**/*.py",
    private: bool = True,
    dry_run: bool = False,
) -> Edit:
    """Add a docstring to each function and method that has none, from its name, signature, returns and raises.

    Nested functions, overloads and special methods are left as they are.

    Args:
        path: A file or a folder.
        style: How arguments are described: "google", "numpy" or "sphinx".
        file_pattern: Which files of a folder.
        private: Whether functions whose names begin with an underscore get one too.
        dry_run: Change nothing and return a diff.
    """
    rewrite = Rewrite(
        name="transform.add_docstrings",
        counted="docstrings_added",
        plan=lambda file: _planned(file, style, private=private),
        needles=(b"def",),
    )
    return rewrite.edit(work, path, file_pattern, dry_run=dry_run)


def _planned(file: PythonFile, style: Style, *, private: bool) -> RewritePlan:
    plan = RewritePlan()
    passed_over = {"setter", "deleter", *_overload_names(file.tree)}
    for node in _functions(file.tree.body):
        if not has_docstring(node) and _wanted(node, passed_over, private=private):
            plan.spans.append(_span(file.layout, node, style))
            plan.count += 1
    return plan


def _functions(body: list[ast.stmt]) -> Iterator[FunctionNode]:
    """The functions and methods of a body, also within conditions, but not inside other functions."""
    waiting = [*reversed(body)]
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, _FUNCTIONS):
            yield statement
        else:
            waiting += [each for inner in blocks(statement) for each in inner][::-1]


def _overload_names(tree: ast.Module) -> Iterator[str]:
    """The names by which the module calls `typing.overload`."""
    yield "overload"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (each.asname for each in node.names if each.name == "overload" and each.asname)


def _wanted(node: FunctionNode, passed_over: set[str], *, private: bool) -> bool:
    if node.name.startswith("__") and node.name.endswith("__"):
        return node.name == "__init__" and len(node.args.args) > 1
    decorators = {dotted(each).rpartition(".")[2] for each in node.decorator_list}
    return not decorators & passed_over and (private or not node.name.startswith("_"))


def _span(layout: Layout, node: FunctionNode, style: Style) -> TextSpan:
    """The span that puts a docstring below the header; a statement on the header's line gets a line of its own."""
    start = _begin(layout, node.body[0])
    if layout.begins_line(start):
        indent = layout.content[layout.at(layout.line(start), 0) : start].decode()
        begin = layout.at(_header_line(layout, node) + 1, 0)
        return TextSpan(start=begin, end=begin, text=docstring(_described(node), style, indent) + "\n")
    outer = _INDENT.match(layout.content, layout.at(node.lineno, 0))
    assert outer is not None
    indent = outer[0].decode()
    indent += "\t" if indent.endswith("\t") else "    "
    header = start
    while layout.content[header - 1 : header] in (b" ", b"\t", b"\f", b"\\", b"\r", b"\n"):
        header -= 1
    return TextSpan(start=header, end=start, text=f"\n{docstring(_described(node), style, indent)}\n{indent}")


def _header_line(layout: Layout, node: FunctionNode) -> int:
    """The line on which the header of a function ends, with its colon; comments may follow before the body."""
    given = node.args
    known = [*given.posonlyargs, *given.args, *given.kwonlyargs, *given.defaults, *filter(None, given.kw_defaults)]
    known += [each for each in (given.vararg, given.kwarg, node.returns) if each is not None]
    start = max((layout.end(each) for each in known), default=layout.start(node))
    depth = 0
    for found in _HEADER.finditer(layout.content, start):
        depth += {b"(": 1, b"[": 1, b")": -1, b"]": -1}.get(found[0], 0)
        if found[0] == b":" and depth <= 0:
            return layout.line(found.start())
    return node.lineno


def _begin(layout: Layout, statement: ast.stmt) -> int:
    """The position of a statement, or of its first decorator."""
    decorators = getattr(statement, "decorator_list", ())
    if not decorators:
        return layout.start(statement)
    return layout.content.rindex(b"@", 0, layout.start(decorators[0]))


def _described(node: FunctionNode) -> Described:
    own = list(_own(node))
    values = [each.value for each in own if isinstance(each, ast.Return) and each.value is not None]
    gives = any(not isinstance(value, ast.Constant) or value.value is not None for value in values)
    yields = any(isinstance(each, (ast.Yield, ast.YieldFrom)) for each in own)
    return Described(
        name=node.name,
        parameters=tuple(_parameters(node)),
        returns=_type(_yielded(node.returns) if yields else node.returns),
        gives_value=gives,
        yields=yields,
        raises=tuple(dict.fromkeys(_raised(own))),
    )


def _parameters(node: FunctionNode) -> Iterator[Parameter]:
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    optional = {id(each) for each in plain[len(plain) - len(given.defaults) :]} if given.defaults else set()
    optional |= {id(each) for each, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value is not None}
    for number, each in enumerate(plain):
        if number or each.arg not in ("self", "cls"):
            yield Parameter(name=each.arg, type=_type(each.annotation), optional=id(each) in optional)
    if given.vararg:
        yield Parameter(name=f"*{given.vararg.arg}", type=_type(given.vararg.annotation))
    for each in given.kwonlyargs:
        yield Parameter(name=each.arg, type=_type(each.annotation), optional=id(each) in optional)
    if given.kwarg:
        yield Parameter(name=f"**{given.kwarg.arg}", type=_type(given.kwarg.annotation))


def _yielded(node: ast.expr | None) -> ast.expr | None:
    """The type that a generator with this annotation yields: `int` of `Iterator[int]`."""
    if not isinstance(node, ast.Subscript) or dotted(node.value).rpartition(".")[2] not in _GENERATORS:
        return None
    return node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice


def _type(node: ast.expr | None) -> str:
    """An annotation as text for a docstring; empty without one, and for one that can't be put there."""
    if node is None:
        return ""
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)
    fit = len(text) <= _TYPE_CHARS and text.isprintable() and not {'"', "\\"} & set(text)
    return text if fit else ""


def _own(node: FunctionNode) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of functions inside it."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        each = waiting.pop()
        yield each
        if not isinstance(each, _SCOPES):
            waiting += ast.iter_child_nodes(each)


def _raised(own: list[ast.AST]) -> Iterator[str]:
    raises = [each for each in own if isinstance(each, ast.Raise) and each.exc is not None]
    for each in sorted(raises, key=lambda node: node.lineno):
        assert each.exc is not None
        name = dotted(each.exc)
        name = name.removeprefix("self.").removeprefix("cls.")
        if "?" not in name and name.rpartition(".")[2][:1].isupper():
            yield name
