"""`transform.remove_debug_statements`: takes prints, debuggers and debug logging out of code; blocks stay whole."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.helpers.edits.debuggers import Debuggers
from rlm.helpers.edits.rewrites import Rewrite, RewritePlan
from rlm.helpers.edits.spans import TextSpan
from rlm.helpers.facts.python import blocks, dotted
from rlm.helpers.operation import helper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.helpers.changes import Edit
    from rlm.helpers.edits.python_files import PythonFile
    from rlm.helpers.edits.spans import Layout
    from rlm.helpers.workspace import Workspace

_NEEDLES = {"print": [b"print"], "breakpoint": [b"breakpoint"], "pdb": [b"pdb", b"pudb", b"wdb"], "logging": [b"debug"]}
_STREAMS = ("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__")
_LOGGERS = re.compile(r"(?:(?:self|cls)\._?)?_{0,2}(?:logging|logger|log|LOGGER|LOG)\.debug")
_HARMLESS = frozenset(
    {
        *("bool", "dict", "dir", "float", "id", "int", "len", "list", "max", "min"),
        *("repr", "round", "set", "sorted", "str", "sum", "tuple", "type", "vars"),
    }
)
_SEMICOLON_BEFORE = re.compile(rb"[ \t]*;[ \t]*$")
_SEMICOLON_AFTER = re.compile(rb"[ \t]*;[ \t]*(?=[^\s#])")
_REST = re.compile(rb"[ \t]*;?[ \t]*(?:#[^\n]*)?(?:\r?\n|\r|$)")


@helper("transform.remove_debug_statements", right="write", over_files=True)
def remove_debug_statements(
    work: Workspace,
    path: str = ".",
    file_pattern: str = "**/*.py",
    kinds: list[str] = ["print", "breakpoint", "pdb"],  # noqa: B006 - a default of the tool's schema, never changed
    dry_run: bool = False,
) -> Edit:
    """Remove prints to the terminal, breakpoints and debuggers (with their imports); an emptied block gets `pass`.

    Statements whose removal could change more than output (`:=`, `await`, `yield`, prints into a file) stay. Removed
    ones that called something other than plain builtins are listed in check_by_hand.

    Args:
        path: A file or a folder.
        file_pattern: Which files of a folder.
        kinds: What to remove: "print", "breakpoint", "pdb", "logging" (calls of debug on a logger).
        dry_run: Change nothing and return a diff.
    """
    if unknown := sorted(set(kinds) - set(_NEEDLES)):
        raise ToolError(f"kinds: there is no {unknown[0]!r}; the kinds are {', '.join(_NEEDLES)}.")
    wanted = frozenset(kinds)
    rewrite = Rewrite(
        name="transform.remove_debug_statements",
        counted="statements_removed",
        plan=lambda file: _planned(file, wanted),
        needles=[needle for kind in wanted for needle in _NEEDLES[kind]],
    )
    return rewrite.edit(work, path, file_pattern, dry_run=dry_run)


def _planned(file: PythonFile, kinds: frozenset[str]) -> RewritePlan:
    doomed = _doomed(file.tree, kinds)
    plan = RewritePlan(count=len(doomed), gone=doomed)
    for body in _bodies(file.tree):
        runs = list(_runs(body, doomed))
        emptied = sum(map(len, runs)) == len(body)
        for number, run in enumerate(runs):
            plan.spans.append(_span(file.layout, run, keep=emptied and number == 0 and body is not file.tree.body))
    plan.unsure = sorted(node.lineno for node in doomed if _calls_more(node))
    return plan


def _doomed(tree: ast.Module, kinds: frozenset[str]) -> set[ast.stmt]:
    """The statements to remove."""
    debuggers = Debuggers(tree)
    found: set[ast.stmt] = set()
    for body in _bodies(tree):
        for statement in body:
            call = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(call, ast.Call) and _is_debug(call, kinds, debuggers) and not _does_more(call):
                found.add(statement)
    if "pdb" in kinds:
        gone = {node for statement in found for node in ast.walk(statement)}
        found |= {each for body in _bodies(tree) for each in body if debuggers.imports_one(each, gone)}
    return found


def _is_debug(call: ast.Call, kinds: frozenset[str], debuggers: Debuggers) -> bool:
    name = dotted(call.func)
    if name in ("print", "breakpoint"):
        return name in kinds and debuggers.is_builtin(call.func) and (name == "breakpoint" or _to_terminal(call))
    if "pdb" in kinds and debuggers.is_trace(call.func):
        return True
    return "logging" in kinds and _LOGGERS.fullmatch(name) is not None


def _to_terminal(call: ast.Call) -> bool:
    into = [keyword.value for keyword in call.keywords if keyword.arg in ("file", None)]
    return all(dotted(each) in _STREAMS for each in into)


def _does_more(call: ast.Call) -> bool:
    return any(isinstance(node, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)) for node in ast.walk(call))


def _calls_more(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Expr):
        return False
    calls = [node for node in ast.walk(statement.value) if isinstance(node, ast.Call)]
    return any(dotted(call.func) not in _HARMLESS for call in calls if call is not statement.value)


def _bodies(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    waiting: list[list[ast.stmt]] = [tree.body]
    while waiting:
        body = waiting.pop()
        yield body
        for statement in body:
            waiting += blocks(statement)


def _runs(body: Sequence[ast.stmt], doomed: set[ast.stmt]) -> Iterator[list[ast.stmt]]:
    """Group the statements to remove that stand on one line."""
    run: list[ast.stmt] = []
    for statement in body:
        if run and (statement not in doomed or statement.lineno != run[-1].end_lineno):
            yield run
            run = []
        if statement in doomed:
            run.append(statement)
    if run:
        yield run


def _span(layout: Layout, run: Sequence[ast.stmt], *, keep: bool) -> TextSpan:
    """The span to replace for statements on one line: the whole line if nothing else is on it."""
    start, end = layout.start(run[0]), layout.end(run[-1])
    if keep:
        return TextSpan(start=start, end=end, text="pass")
    line = layout.at(run[0].lineno, 0)
    rest = _REST.match(layout.content, end)
    if rest is not None and layout.begins_line(start):
        return TextSpan(start=line, end=rest.end(), text="")
    if following := _SEMICOLON_AFTER.match(layout.content, end):
        return TextSpan(start=start, end=following.end(), text="")
    if before := _SEMICOLON_BEFORE.search(layout.content[line:start]):
        return TextSpan(start=line + before.start(), end=end, text="")
    return TextSpan(start=start, end=end, text="pass")
