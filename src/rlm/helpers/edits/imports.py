"""`transform.change_imports`: gives a module another name in every import, and wherever code uses its path."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.helpers.edits.code_in_strings import positions
from rlm.helpers.edits.elsewhere import modules_elsewhere
from rlm.helpers.edits.identifiers import checked_identifier
from rlm.helpers.edits.relative_imports import meant, module_of, module_span, written
from rlm.helpers.edits.rewrites import Rewrite, RewritePlan
from rlm.helpers.edits.spans import TextSpan, Unlocatable
from rlm.helpers.facts.names import Names
from rlm.helpers.facts.python import dotted
from rlm.helpers.operation import helper

if TYPE_CHECKING:
    from rlm.helpers.changes import Edit
    from rlm.helpers.edits.import_paths import Parts
    from rlm.helpers.edits.python_files import PythonFile
    from rlm.helpers.facts.scopes import Mention
    from rlm.helpers.workspace import Workspace


@helper("transform.change_imports", right="write", over_files=True)
def change_imports(
    work: Workspace,
    path: str,
    old_module: str,
    new_module: str,
    file_pattern: str = "**/*.py",
    dry_run: bool = False,
) -> Edit:
    """Change the imports of a module (and of what is below it) to another module, and its uses by its full path.

    The files themselves are not moved: see move_module. Strings that begin with its path and uses of it through its
    package stay as they are, and are listed in check_by_hand.

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
    rewrite = Rewrite(
        name="transform.change_imports",
        counted="imports_changed",
        plan=lambda file: ImportChanger(file=file, old=old_module, new=new_module).planned(),
        needles=(old_module.rpartition(".")[2].encode(),),
        elsewhere=lambda known: modules_elsewhere(work, path, old_module, known),
    )
    return rewrite.edit(work, path, file_pattern, dry_run=dry_run)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportChanger:
    """Changes the imports of one file."""

    file: PythonFile
    old: str
    new: str
    moves: bool = False
    """Whether the module's own files get the place that its new name says: their relative imports are changed so."""

    @property
    def package(self) -> Parts:
        """The package that the file's relative imports start from."""
        return module_of(self.file.source.place, self.old.partition(".")[0])[:-1]

    @property
    def package_then(self) -> Parts:
        """The same once the module's files have moved."""
        module = module_of(self.file.source.place, self.old.partition(".")[0])
        return self._mapped(module)[:-1] if self.moves else module[:-1]

    def planned(self) -> RewritePlan:
        """The spans of imports, and of uses by the full path.

        Raises:
            Unlocatable: a use can't be changed for certain.
        """
        plan = RewritePlan()
        for node in ast.walk(self.file.tree):
            if isinstance(node, ast.ImportFrom):
                self._from(node, plan)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if self._is(alias.name):
                        plan.spans.append(self._alias(alias))
                        plan.count += 1
        self._uses(plan)
        return plan

    def _is(self, module: str) -> bool:
        return module == self.old or module.startswith(f"{self.old}.")

    def _is_path(self, text: object) -> bool:
        if not isinstance(text, str):
            return False
        return text.startswith((f"{self.old}.", f"{self.old}:")) or ("." in self.old and text == self.old)

    def _changed(self, module: str) -> str:
        return self.new + module.removeprefix(self.old)

    def _from(self, node: ast.ImportFrom, plan: RewritePlan) -> None:
        module = node.module or ""
        parent, _, leaf = self.old.rpartition(".")
        named = [alias for alias in node.names if alias.name == leaf]
        if node.level:
            self._relative(node, plan)
        elif self._is(module):
            plan.spans.append(self._module(node, module, self._changed(module)))
            plan.count += 1
        elif parent and module == parent and named:
            plan.spans += self._leaf(node, named[0])
            plan.adds_statements |= len(node.names) > 1
            plan.count += 1

    def _relative(self, node: ast.ImportFrom, plan: RewritePlan) -> None:
        """Plan the change of a relative import that means the module, or stands in a file that moves.

        Raises:
            Unlocatable: it takes the module and others from one package, and they would be in two.
        """
        module, package = meant(self.package, node), self.package_then
        if module is None:
            return
        parent, leaf = (parts := tuple(self.old.split(".")))[:-1], parts[-1]
        named = [alias for alias in node.names if alias.name == leaf] if module == parent else []
        text = written(package, self._mapped(module))
        same = text == "." * node.level + (node.module or "")
        if named and (len(node.names) == 1 or same):
            plan.spans += self._leaf(node, named[0], package)
            plan.adds_statements |= len(node.names) > 1
        elif named:
            raise Unlocatable(node.lineno, f"{leaf} is imported beside others; give it an import of its own")
        elif not same:
            plan.spans.append(module_span(self.file.layout, node, text))
        plan.count += bool(named) or not same

    def _mapped(self, module: Parts) -> Parts:
        """The parts of a module's name once the module has its new name."""
        old, new = tuple(self.old.split(".")), tuple(self.new.split("."))
        return (*new, *module[len(old) :]) if module[: len(old)] == old else module

    def _module(self, node: ast.ImportFrom, module: str, changed: str) -> TextSpan:
        layout = self.file.layout
        pattern = re.compile(rb"from(?:\s|\\\n)+(" + re.escape(module.encode()) + rb")(?=[\s\\])")
        found = pattern.match(layout.content, layout.start(node))
        if found is None:
            raise Unlocatable(node.lineno, "the module is not where it should be")
        return TextSpan(start=found.start(1), end=found.end(1), text=changed)

    def _leaf(self, node: ast.ImportFrom, alias: ast.alias, package: Parts = ()) -> list[TextSpan]:
        """Change `from a import b` of the module `a.b` to `from c import d as b`; other names keep the old import.

        With a package, `c` is named as relative imports there do.
        """
        *above, last = self.new.split(".")
        parent = written(package, tuple(above)) if above else ""
        bound = alias.asname or alias.name
        name = last if last == bound else f"{last} as {bound}"
        text = f"from {parent} import {name}" if parent else f"import {name}"
        layout = self.file.layout
        start, end = layout.start(node), layout.end(node)
        if len(node.names) == 1:
            return [TextSpan(start=start, end=end, text=text)]
        number = node.names.index(alias)
        if number:
            gone = TextSpan(start=layout.end(node.names[number - 1]), end=layout.end(alias), text="")
        else:
            gone = TextSpan(start=layout.start(alias), end=layout.start(node.names[1]), text="")
        if b"#" in layout.content[gone.start : gone.end]:
            raise Unlocatable(node.lineno, f"{alias.name} is imported beside a comment; give it an import of its own")
        between = "; "
        if layout.begins_line(start):
            between = "\n" + layout.content[layout.at(node.lineno, 0) : start].decode()
        return [gone, TextSpan(start=end, end=end, text=between + text)]

    def _alias(self, alias: ast.alias) -> TextSpan:
        layout = self.file.layout
        start = layout.start(alias)
        end = start + len(alias.name.encode())
        if layout.content[start:end] != alias.name.encode():
            raise Unlocatable(alias.lineno, "the module is not where it should be")
        return TextSpan(start=start, end=end, text=self._changed(alias.name))

    def _uses(self, plan: RewritePlan) -> None:
        """Plan the uses of a module by its path, where it is imported by its path.

        Raises:
            Unlocatable: the first name has other uses but no import left, or the new name means something else.
        """
        top, new_top = self.old.partition(".")[0], self.new.partition(".")[0]
        names = Names(self.file.tree, {top, new_top})
        imports = [each for each in names.mentions if each.role == "import" and each.name == top]
        going = {names.owner(each) for each in imports if self._goes(each.node)}
        stays = not all(self._goes(each.node) for each in imports)
        paths = self._paths(names)
        for mention in names.mentions:
            if mention.name == top and mention.role != "import" and names.owner(mention) in going:
                path = paths.get(mention.node)
                if path is not None:
                    plan.spans.append(self._use(names, mention, path))
                elif not stays:
                    raise Unlocatable(mention.line, f"{top} is used here in a way that can't be changed for certain")
            elif mention.name == top and mention.node in paths and any(map(_is_import, names.binding(mention))):
                plan.unsure.append(mention.line)
        for node in ast.walk(self.file.tree):
            if isinstance(node, ast.Constant) and node not in names.quoted and self._is_path(node.value):
                plan.unsure.append(node.lineno)
        if going and new_top != top:
            _refuse_taken(names, new_top)

    def _paths(self, names: Names) -> dict[ast.AST, ast.expr]:
        """Each use of the module by its path: the node of its first name, and the whole expression."""
        found: dict[ast.AST, ast.expr] = {}
        for node in [*ast.walk(self.file.tree), *(each for tree in names.quoted.values() for each in ast.walk(tree))]:
            if isinstance(node, (ast.Attribute, ast.Name)) and dotted(node) == self.old:
                found[_base(node)] = node
        return found

    def _use(self, names: Names, mention: Mention, path: ast.expr) -> TextSpan:
        layout = self.file.layout
        start, end = layout.start(path), layout.end(path)
        if mention.within is not None:
            string = mention.within
            segment = layout.content[layout.start(string) : layout.end(string)].decode("utf-8", "surrogatepass")
            place = positions(segment, string, names.tree_of(string), mention.name).get(mention.node)
            if place is None or not segment.startswith(self.old, place):
                raise Unlocatable(string.lineno, f"{mention.name} is in a string that can't be changed for certain")
            start = layout.start(string) + len(segment[:place].encode("utf-8", "surrogatepass"))
            end = start + len(self.old.encode())
        return TextSpan(start=start, end=end, text=self.new)

    def _goes(self, node: ast.AST) -> bool:
        return isinstance(node, ast.alias) and node.asname is None and self._is(node.name)


def _refuse_taken(names: Names, name: str) -> None:
    """Check that the first name of the new module means nothing else in a file that is to use it.

    Raises:
        Unlocatable: it does.
    """
    for mention in names.mentions:
        if mention.name == name and not all(map(_is_import, names.binding(mention) or [mention])):
            raise Unlocatable(mention.line, f"{name!r} already means something here")


def _is_import(mention: Mention) -> bool:
    """Whether a mention is `import name` or `import name.other`."""
    node = mention.node
    return isinstance(mention.statement, ast.Import) and isinstance(node, ast.alias) and node.asname is None


def _base(node: ast.AST) -> ast.AST:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node
