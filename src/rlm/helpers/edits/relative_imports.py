"""Relative imports: the module that one means from where it stands, and how to write it from there or elsewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rlm.helpers.edits.spans import TextSpan, Unlocatable

if TYPE_CHECKING:
    import ast
    from pathlib import Path

    from rlm.core.paths import ConfinedPath
    from rlm.helpers.edits.import_paths import Parts
    from rlm.helpers.edits.spans import Layout

_SPACE = rb"(?:\s|\\\r?\n)"


def module_of(place: ConfinedPath, hint: str) -> Parts:
    """The dotted path of a Python file, `__init__` for a package's own: from the outermost folder that is a package.

    In folders without an `__init__.py` it begins at the one called `hint`, or at the workspace.
    """
    folders, file = place.parts[:-1], place.parts[-1]
    top, folder = len(folders), place.path.parent
    while top > 0 and _is_package(folder):
        top, folder = top - 1, folder.parent
    if top == len(folders):
        top = folders.index(hint) if hint in folders else 0
    above = (place.root.name,) if top == 0 and _is_package(place.root) else ()
    name = file.partition(".")[0]
    return (*above, *folders[top:], name)


def meant(package: Parts, node: ast.ImportFrom) -> Parts | None:
    """The module that a relative import takes names from; None if it leads out of the package."""
    above = len(package) - node.level + 1
    if above < 1:
        return None
    return (*package[:above], *(node.module.split(".") if node.module else ()))


def written(package: Parts, module: Parts) -> str:
    """A module as an import in a package names it: relative, or absolute if it is in none of the packages around."""
    shared = 0
    for one, other in zip(package, module, strict=False):
        if one != other:
            break
        shared += 1
    if not shared:
        return ".".join(module)
    return "." * (len(package) - shared + 1) + ".".join(module[shared:])


def module_span(layout: Layout, node: ast.ImportFrom, text: str) -> TextSpan:
    """The span of what stands between `from` and `import`, to be replaced by `text`.

    Raises:
        Unlocatable: it is not where it should be.
    """
    module = re.escape((node.module or "").encode())
    pattern = re.compile(
        rb"from(" + _SPACE + rb"*)((?:\." + _SPACE + rb"*)+" + module + rb")(?=" + _SPACE + rb"*import)"
    )
    found = pattern.match(layout.content, layout.start(node))
    if found is None or found[2].count(b".") - module.count(rb"\.") != node.level:
        raise Unlocatable(node.lineno, "the module is not where it should be")
    before = "" if found[1] or text.startswith(".") else " "
    after = " " if not node.module and not layout.content[found.end() : found.end() + 1].isspace() else ""
    end = len(found[2].rstrip()) + found.start(2)
    return TextSpan(start=found.start(2), end=end, text=f"{before}{text}{after if end == found.end() else ''}")


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file() or (folder / "__init__.pyi").is_file()
