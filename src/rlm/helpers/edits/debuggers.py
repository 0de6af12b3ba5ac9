"""Finds the debuggers of a module: their imports, under any name, and the calls that stop in one."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from rlm.helpers.facts.names import Names
from rlm.helpers.facts.python import dotted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_MODULES = ("pdb", "ipdb", "pudb", "wdb")
_TRACES = ("set_trace", "post_mortem", "trace")


class Debuggers:
    """The builtins `print` and `breakpoint`, and the debuggers that one module imports."""

    def __init__(self, tree: ast.Module) -> None:
        bound = {alias.asname or alias.name for node in ast.walk(tree) for alias in _debuggers(node)}
        self._names = Names(tree, {"print", "breakpoint", *bound})
        self._by_node = {each.node: each for each in self._names.mentions}
        self._bound = bound

    def is_builtin(self, node: ast.expr) -> bool:
        """Whether a name is a builtin that the module doesn't rebind."""
        mention = self._by_node.get(node)
        return mention is not None and self._names.owner(mention) is None

    def is_trace(self, called: ast.expr) -> bool:
        """Whether a call stops in a debugger: `pdb.set_trace`, or `set_trace` imported from it."""
        if isinstance(called, ast.Attribute):
            return called.attr in _TRACES and (_is_inline(called.value) or self._is_debugger(called.value))
        return self._is_debugger(called)

    def imports_one(self, statement: ast.stmt, gone: Collection[ast.AST]) -> bool:
        """Whether a statement imports only debuggers, and only nodes in `gone` use them."""
        found = [*_debuggers(statement)]
        if not found or len(found) < len(getattr(statement, "names", ())):
            return False
        bound = {alias.asname or alias.name for alias in found}
        return all(each.node in gone for each in self._names.mentions if each.name in bound and each.role != "import")

    def _is_debugger(self, node: ast.expr) -> bool:
        mention = self._by_node.get(node)
        owner = None if mention is None else self._names.owner(mention)
        if mention is None or owner is None or mention.name not in self._bound:
            return False
        makers = self._names.bound_in(owner, mention.name)
        return all(each.statement is not None and each.node in [*_debuggers(each.statement)] for each in makers)


def _debuggers(node: ast.AST) -> Iterator[ast.alias]:
    """The debuggers, or functions of debuggers, that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias for alias in node.names if alias.name in _MODULES)
    elif isinstance(node, ast.ImportFrom) and node.module in _MODULES and not node.level:
        yield from (alias for alias in node.names if alias.name in _TRACES)


def _is_inline(node: ast.expr) -> bool:
    """Whether an expression is like `__import__("pdb")`."""
    given = node.args if isinstance(node, ast.Call) and dotted(node.func) == "__import__" else []
    return len(given) == 1 and isinstance(given[0], ast.Constant) and given[0].value in _MODULES
