"""How many rooms and floors a reader of the package meets, from its import graph; and which classes share a name.

A room is a module or package directly inside another. An arrow goes from the room that imports to the one that it
imports; imports for type checkers alone don't count, as for import-linter. A floor is one step of the longest way down.
`python -m benchmarks.structure [SRC]` prints the floors of any checkout's `src`.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from benchmarks.figures import Figure

SRC = Path(__file__).parents[1] / "src"
PACKAGES = ("rlm", "rlm.core")


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """The rooms of one package."""

    arrows: dict[str, set[str]]
    """Each room, and the rooms that it imports."""
    floors: list[list[str]]
    """The rooms by their floor, the lowest first."""


def structure() -> list[Figure]:
    """Rooms, floors and arrows, at the top and in `core`; class names that stand for more than one class."""
    modules = parse(SRC)
    figures = [figure for package in PACKAGES for figure in _figures(package, structure_of(package, modules))]
    return [*figures, Figure(name="class names shared", value=len(shared_names(modules)), unit="")]


def parse(src: Path) -> dict[str, ast.Module]:
    """Every module below `src`, by its full name."""
    found = {".".join(path.relative_to(src).with_suffix("").parts): path for path in sorted(src.rglob("*.py"))}
    return {name.removesuffix(".__init__"): ast.parse(path.read_bytes()) for name, path in found.items()}


def structure_of(package: str, modules: dict[str, ast.Module]) -> Structure:
    """The import graph of the rooms of `package`. Raises:
    graphlib.CycleError: rooms import each other in a circle.
    """
    arrows: dict[str, set[str]] = defaultdict(set)
    for name, tree in modules.items():
        if room := _room(name, package):
            targets = {_room(target, package) for target in _imported(tree, modules)}
            arrows[room] |= targets - {"", room}
    return Structure(arrows=dict(arrows), floors=_floors(arrows))


def shared_names(modules: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Public class names that more than one module defines, and those modules."""
    found = defaultdict(list)
    for module, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module)
    return {name: places for name, places in found.items() if len(places) > 1}


def _figures(package: str, found: Structure) -> Iterator[Figure]:
    yield Figure(name=f"{package}: rooms", value=len(found.arrows), unit="")
    yield Figure(name=f"{package}: floors", value=len(found.floors), unit="")
    yield Figure(name=f"{package}: arrows", value=sum(map(len, found.arrows.values())), unit="")


def _room(module: str, package: str) -> str:
    """The room of `package` that `module` is in; empty if it is not inside, or is the package itself."""
    return module[len(package) + 1 :].partition(".")[0] if module.startswith(f"{package}.") else ""


def _imported(tree: ast.AST, modules: dict[str, ast.Module]) -> Iterator[str]:
    for node in _run_time_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (member if member in modules else node.module for member in members)


def _run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _run_time_nodes(child)


def _floors(arrows: dict[str, set[str]]) -> list[list[str]]:
    height: dict[str, int] = {}
    for room in TopologicalSorter(arrows).static_order():
        height[room] = 1 + max((height[below] for below in arrows.get(room, ())), default=-1)
    floors: list[list[str]] = [[] for _ in range(max(height.values()) + 1)]
    for room, floor in sorted(height.items()):
        floors[floor].append(room)
    return floors


def main() -> None:
    """Print each package's floors, the highest first, and the class names that are shared."""
    modules = parse(Path(sys.argv[1]) if len(sys.argv) > 1 else SRC)
    for package in PACKAGES:
        found = structure_of(package, modules)
        print(", ".join(f"{figure.name} {figure.value:g}" for figure in _figures(package, found)))
        for number, rooms in reversed(list(enumerate(found.floors, 1))):
            print(f"  {number:>2}  {' '.join(rooms)}")
    for name, places in sorted(shared_names(modules).items()):
        print(f"{name}: {', '.join(places)}")


if __name__ == "__main__":
    main()
