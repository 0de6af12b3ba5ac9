"""`transform.change_imports`: a module under another name, in every import and wherever it is used by its path."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.helpers.code_facts import dotted
from rlm.helpers.code_scopes import Names
from rlm.helpers.helper import helper
from rlm.helpers.transform_many import Operation, Planned
from rlm.helpers.transform_spans import Span, Unlocatable, checked_identifier

if TYPE_CHECKING:
    from rlm.helpers.transform_python import PythonFile
    from rlm.helpers.workspace import Workspace
    from rlm.helpers.writing import Edit


@helper("transform.change_imports", right="write")
def change_imports(
    work: Workspace,
    path: str,
    old_module: str,
    new_module: str,
    file_pattern: str = "**/*.py",
    dry_run: bool = False,
) -> Edit:
    """Change the imports of a module (and of what is below it) to another module, and its uses by its full path.

    Relative imports stay. The files themselves are not moved.

    Args:
        path: A file or a folder.
        old_module: The module as it is imported now: "old.package".
        new_module: The module to import instead.
        file_pattern: Which files of a folder.
        dry_run: Change nothing and return a diff.
    """
    for module, what in ((old_module, "old_module"), (new_module, "new_module")):
        for part in module.split("."):
            checked_identifier(part, what)
    operation = Operation(
        name="transform.change_imports",
        counted="imports_changed",
        plan=lambda file: _Changer(file=file, old=old_module, new=new_module).planned(),
        needle=old_module.rpartition(".")[2].encode(),
    )
    return operation.apply(work, path, file_pattern, dry_run=dry_run)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changer:
    """Changes one file."""

    file: PythonFile
    old: str
    new: str

    def planned(self) -> Planned:
        """The spans of imports, and of uses by the full path.

        Raises:
            Unlocatable: a use can't be changed for certain.
        """
        planned = Planned()
        bare: list[ast.Import] = []
        for node in ast.walk(self.file.tree):
            if isinstance(node, ast.ImportFrom) and not node.level:
                self._from(node, planned)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if self._is(alias.name):
                        planned.spans.append(self._alias(alias))
                        planned.count += 1
                        bare += [node] if alias.asname is None else []
        if bare:
            self._uses(planned)
        return planned

    def _is(self, module: str) -> bool:
        return module == self.old or module.startswith(f"{self.old}.")

    def _changed(self, module: str) -> str:
        return self.new + module.removeprefix(self.old)

    def _from(self, node: ast.ImportFrom, planned: Planned) -> None:
        module = node.module or ""
        parent, _, leaf = self.old.rpartition(".")
        if self._is(module):
            planned.spans.append(self._module(node, module, self._changed(module)))
        elif parent and module == parent and any(alias.name == leaf for alias in node.names):
            planned.spans.append(self._leaf(node, leaf))
        else:
            return
        planned.count += 1

    def _module(self, node: ast.ImportFrom, module: str, changed: str) -> Span:
        layout = self.file.layout
        pattern = re.compile(rb"from(?:\s|\\\n)+(" + re.escape(module.encode()) + rb")(?=[\s\\])")
        found = pattern.match(layout.content, layout.start(node))
        if found is None:
            raise Unlocatable(node.lineno, "the module is not where it should be")
        return Span(start=found.start(1), end=found.end(1), text=changed)

    def _leaf(self, node: ast.ImportFrom, leaf: str) -> Span:
        """`from a import b` of the module `a.b`, which then is `from c import d as b`."""
        if len(node.names) > 1:
            raise Unlocatable(node.lineno, f"{leaf} is imported together with others; give it an import of its own")
        parent, _, last = self.new.rpartition(".")
        bound = node.names[0].asname or leaf
        name = last if last == bound else f"{last} as {bound}"
        layout = self.file.layout
        text = f"from {parent} import {name}" if parent else f"import {name}"
        return Span(start=layout.start(node), end=layout.end(node), text=text)

    def _alias(self, alias: ast.alias) -> Span:
        layout = self.file.layout
        start = layout.start(alias)
        end = start + len(alias.name.encode())
        if layout.content[start:end] != alias.name.encode():
            raise Unlocatable(alias.lineno, "the module is not where it should be")
        return Span(start=start, end=end, text=self._changed(alias.name))

    def _uses(self, planned: Planned) -> None:
        """The uses of a module that was imported by its path and is used by it.

        Raises:
            Unlocatable: its first name is used otherwise, and no import of it stays.
        """
        top = self.old.partition(".")[0]
        names = Names(self.file.tree, {top})
        imports = [each for each in names.mentions if each.role == "import"]
        going = {names.owner(each) for each in imports if self._goes(each.node)}
        stays = not all(self._goes(each.node) for each in imports)
        whole = {id(_base(node)): node for node in ast.walk(self.file.tree) if self._is_path(node)}
        for mention in names.mentions:
            if mention.role == "import" or names.owner(mention) not in going:
                continue
            node = whole.get(id(mention.node))
            if node is not None and mention.within is None:
                planned.spans.append(self._use(node))
            elif not stays or node is not None:
                line = getattr(mention.node, "lineno", 1)
                raise Unlocatable(line, f"{top} is used here in a way that can't be changed for certain")

    def _is_path(self, node: ast.AST) -> bool:
        return isinstance(node, (ast.Attribute, ast.Name)) and dotted(node) == self.old

    def _use(self, node: ast.AST) -> Span:
        layout = self.file.layout
        return Span(start=layout.start(node), end=layout.end(node), text=self.new)

    def _goes(self, node: ast.AST) -> bool:
        return isinstance(node, ast.alias) and node.asname is None and self._is(node.name)


def _base(node: ast.AST) -> ast.AST:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node
