"""The package's source as the architecture tests read it: parsed, never imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """One module of the package."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    def at(self, line: int) -> str:
        """A place in it, as an editor opens it: `path:line`."""
        return f"{self.path.relative_to(ROOT)}:{line}"


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, by its full name."""

    target: str
    names: tuple[str, ...]
    """What is taken from it; empty for a plain `import`."""
    line: int
    lazy: bool
    """Inside a function: paid at a call, not when the module loads."""

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]

    @property
    def third_party(self) -> bool:
        return self.top != "rlm" and self.top not in sys.stdlib_module_names


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package, sorted by name."""
    return tuple(_parse(path) for path in sorted(SRC.rglob("*.py")))


def modules_in(package: str) -> list[Module]:
    """The modules of `package`, itself included."""
    return [module for module in modules() if within(module.name, package)]


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@cache
def functions(module: Module) -> tuple[tuple[str, Function], ...]:
    """Every function with its qualified name, nested ones too."""
    return tuple(_functions(module.tree, ""))


@cache
def imports(module: Module) -> tuple[Import, ...]:
    """Every import that happens at run time: those for type checkers alone are left out."""
    return tuple(_imports(module.tree, lazy=False))


def listed(offenders: Iterable[str]) -> str:
    """A message that shows all of them, for pytest cuts a long list short."""
    return "\n" + "\n".join(offenders)


def _functions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        else:
            yield from _functions(node, prefix)


def _imports(node: ast.AST, *, lazy: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, (), node.lineno, lazy) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        yield Import(node.module or "", tuple(alias.name for alias in node.names), node.lineno, lazy)
    elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        for otherwise in node.orelse:
            yield from _imports(otherwise, lazy=lazy)
    else:
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, lazy=inside)


def _parse(path: Path) -> Module:
    parts = path.relative_to(SRC).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    text = path.read_text(encoding="utf-8")
    return Module(name, path, text, ast.parse(text, str(path)))
