"""How the code of a cell is rewritten under `relaxed`: imports, names, attributes, classes and patterns.

Only what could leave the policy costs anything at run time: a method that is called by a public name, an item, a loop
and an unpacking stay as they are. It must not import RestrictedPython: `restricted` mixes these rules over its
transformer, which refuses every kind of node that is named nowhere.
"""

from __future__ import annotations
import __future__

import ast
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.policy import names
from rlm.repl.guest.policy.format import reaches_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.repl.guest.policy.proxies import Importer

_DEFINABLE = names.METHODS | names.DEFINED_ONLY


def call(guard: str, at: ast.AST, *arguments: ast.expr | str) -> ast.Call:
    """A call of a guard in the place of a node; text goes as a constant."""
    values = [ast.Constant(each) if isinstance(each, str) else each for each in arguments]
    made = ast.Call(func=ast.Name(guard, ast.Load()), args=values, keywords=[])
    return ast.fix_missing_locations(ast.copy_location(made, at))


def _is_plain_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args


class SyntaxRules(ast.NodeTransformer):
    """What both levels share: how to refuse, and imports by proxy."""

    def __init__(self, importer: Importer) -> None:
        super().__init__()
        self._importer = importer
        self._scopes: list[str | None] = []
        self.refusals: list[tuple[ast.AST, str]] = []
        self.future_flags = 0

    def error(self, node: ast.AST, info: str) -> None:
        """Refuse the cell because of this node."""
        self.refusals.append((node, info))

    def check_name(self, node: ast.AST, name: str | None, allow_magic_methods: bool = False) -> None:
        """Refuse a name that may not be bound here."""
        refusal = name and names.binding_refusal(name, in_class=allow_magic_methods and self._in_class())
        if refusal:
            self.error(node, refusal)

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        made = []
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            renamed = (alias.asname,) if alias.asname else ()
            made.append(self._bind(node, bound, call("_import_", node, alias.name, *renamed)))
        return made

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | list[ast.stmt]:
        if node.level or node.module is None:
            self.error(node, "relative imports are not available here: a cell is in no package")
            return node
        for alias in node.names:
            self.check_name(node, alias.asname or alias.name)
        if node.module == "__future__":
            self._note_futures(node)
            return []
        if node.names[0].name == "*":
            return self._bind_all(node, node.module)
        return [self._bind_from(node, node.module, alias.name, alias.asname or alias.name) for alias in node.names]

    def _note_futures(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            feature = getattr(__future__, alias.name, None)
            self.future_flags |= getattr(feature, "compiler_flag", 0)

    def _bind_all(self, node: ast.ImportFrom, module: str) -> list[ast.stmt]:
        if self._scopes:
            self.error(node, "import * only allowed at module level")
        try:
            public = self._importer.public(module)
        except ImportError:  # raised again when the statement runs, where the cell can catch it
            return [ast.copy_location(ast.Expr(call("_import_", node, module)), node)]
        return [self._bind_from(node, module, name, name) for name in public]

    def _bind_from(self, node: ast.stmt, module: str, name: str, bound: str) -> ast.stmt:
        return self._bind(node, bound, call("_import_from_", node, module, name))

    def _bind(self, node: ast.stmt, name: str, value: ast.expr) -> ast.stmt:
        self.check_name(node, name)
        made = ast.Assign(targets=[ast.Name(name, ast.Store())], value=value)
        return ast.fix_missing_locations(ast.copy_location(made, node))

    def _in_class(self) -> bool:
        return bool(self._scopes) and self._scopes[-1] is not None

    @contextmanager
    def _scope(self, class_name: str | None = None) -> Iterator[None]:
        self._scopes.append(class_name)
        try:
            yield
        finally:
            self._scopes.pop()

    def _all(self, nodes: Sequence[ast.AST]) -> list[Any]:
        """Visit nodes of a list, as the transformer does for the fields of a node."""
        made: list[Any] = []
        for node in nodes:
            result = self.visit(node)
            made += result if isinstance(result, list) else [result]
        return made

    def _contents(self, node: Any) -> Any:
        return ast.NodeTransformer.generic_visit(self, node)


_AS_THEY_ARE = (
    ast.Module, ast.For, ast.AsyncFor, ast.comprehension, ast.With, ast.AsyncWith, ast.Await, ast.Subscript, ast.Try,
    ast.TryStar, ast.Match, ast.match_case, ast.MatchOr, ast.MatchSequence, ast.MatchSingleton, ast.ListComp,
    ast.SetComp, ast.DictComp, ast.GeneratorExp, getattr(ast, "TypeAlias", ast.Module),
)  # fmt: skip
"""What a cell may write without more than a look at the parts."""


class RelaxedRules(SyntaxRules):
    """The rest of what a cell may write."""

    def visit(self, node: ast.AST) -> Any:
        """Rewrite a node; of many kinds only the parts."""
        return self._contents(node) if isinstance(node, _AS_THEY_ARE) else super().visit(node)

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id == "__name__" and isinstance(node.ctx, ast.Load):
            return ast.copy_location(ast.Constant("__main__"), node)
        if node.id == "__match_args__":
            self.error(node, "__match_args__ must be a literal tuple of public names")
        self.check_name(node, node.id, allow_magic_methods=True)
        return node

    def visit_Assign(self, node: ast.Assign) -> Any:
        if self._is_match_args(node.targets):
            self._check_match_args(node.value)
            return node
        return self._contents(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if self._is_match_args([node.target]):
            self._check_match_args(node.value)
            node.annotation = self.visit(node.annotation)
            return node
        return self._contents(node)

    def _is_match_args(self, targets: list[ast.expr]) -> bool:
        if len(targets) != 1 or not self._in_class():
            return False
        return isinstance(targets[0], ast.Name) and targets[0].id == "__match_args__"

    def _check_match_args(self, value: ast.expr | None) -> None:
        positions = value.elts if isinstance(value, ast.Tuple) else None
        texts = [e.value for e in positions or () if isinstance(e, ast.Constant) and isinstance(e.value, str)]
        if positions is None or len(texts) != len(positions):
            self.error(value or ast.Constant(None), "__match_args__ must be a literal tuple of public names")
        for refusal in filter(None, map(names.pattern_refusal, texts)):
            self.error(value or ast.Constant(None), refusal)

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        if isinstance(node.target, ast.Attribute) and node.target.attr in names.CHECKED:
            self.error(
                node, f"write x.{node.target.attr} = x.{node.target.attr} ... instead of an augmented assignment"
            )
        return self._contents(node)

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        name = self._mangled(node.attr)
        if isinstance(node.ctx, ast.Load):
            self._refuse(node, names.attribute_refusal(name))
            return call(self._reader(name), node, self.visit(node.value), name)
        self._refuse(node, names.written_refusal(name))
        target = self.visit(node.value)
        node.value = (
            call("_write_private_", node, target, name) if names.is_private(name) else call("_write_", node, target)
        )
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        """A method called by a public name stays: what it is, is not given to the cell, only what it returns."""
        method = node.func
        if not isinstance(method, ast.Attribute) or not self._is_callable_as_it_is(method):
            return self._contents(node)
        method.value = self.visit(method.value)
        node.args = self._all(node.args)
        node.keywords = self._all(node.keywords)
        return node

    def _reader(self, name: str) -> str:
        if self._is_plain(name):
            return "_load_"
        return "_load_private_" if names.is_private(name) else "_getattr_"

    def _is_plain(self, name: str) -> bool:
        return (not name.startswith("_") and name not in names.CHECKED) or name == "_"

    def _is_callable_as_it_is(self, method: ast.Attribute) -> bool:
        name = self._mangled(method.attr)
        if name == "format" and isinstance(method.value, ast.Constant) and isinstance(method.value.value, str):
            return not reaches_in(method.value.value)
        if name == "__init__":
            return _is_plain_super(method.value)
        return (self._is_plain(name) or name in names.METHODS) and names.attribute_refusal(name) is None

    def _mangled(self, name: str) -> str:
        """The name that the compiler makes of `__name` inside a class."""
        inside = [scope for scope in self._scopes if scope is not None]
        if not inside or not name.startswith("__") or name.endswith("__"):
            return name
        owner = inside[-1].lstrip("_")
        return f"_{owner}{name}" if owner else name

    def _refuse(self, node: ast.AST, refusal: str | None) -> None:
        if refusal is not None:
            self.error(node, refusal)

    # Scopes

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Any:
        if not (self._in_class() and node.name in _DEFINABLE):
            self.check_name(node, node.name)
        with self._scope():
            return self._contents(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> Any:
        with self._scope():
            return self._contents(node)

    def visit_arg(self, node: ast.arg) -> Any:
        self.check_name(node, node.arg)
        return self._contents(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        self.check_name(node, node.name)
        for keyword in node.keywords:
            if keyword.arg is None:
                self.error(node, "name the keywords of a class one by one; ** is not available here")
        node.decorator_list = self._all(node.decorator_list)
        node.bases = self._all(node.bases)
        node.keywords = [self._class_keyword(keyword) for keyword in node.keywords]
        with self._scope(node.name):
            node.body = [*self._all(node.body), self._mark(node)]
            if sys.version_info >= (3, 12):
                node.type_params = self._all(node.type_params)
        return node

    def _mark(self, node: ast.ClassDef) -> ast.stmt:
        made = ast.Assign(targets=[ast.Name(names.MARK, ast.Store())], value=ast.Name("_mark_", ast.Load()))
        return ast.fix_missing_locations(ast.copy_location(made, node.body[-1]))

    def _class_keyword(self, keyword: ast.keyword) -> ast.keyword:
        value = self.visit(keyword.value)
        keyword.value = call("_metaclass_", keyword.value, value) if keyword.arg == "metaclass" else value
        return keyword

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> Any:
        for name in node.names:
            self.check_name(node, name)
        return node

    visit_Nonlocal = visit_Global

    def visit_TypeVar(self, node: Any) -> Any:
        self.check_name(node, node.name)
        return self._contents(node)

    visit_ParamSpec = visit_TypeVarTuple = visit_TypeVar

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> Any:
        self.check_name(node, node.name)
        return self._contents(node)

    # Patterns: the compiler reads their attributes itself, past the guards.

    def visit_MatchValue(self, node: ast.MatchValue) -> Any:
        node.value = self._pattern_value(node.value)
        return node

    def visit_MatchMapping(self, node: ast.MatchMapping) -> Any:
        self.check_name(node, node.rest)
        node.keys = [self._pattern_value(key) for key in node.keys]
        node.patterns = self._all(node.patterns)
        return node

    def visit_MatchClass(self, node: ast.MatchClass) -> Any:
        node.cls = self._pattern_value(node.cls)
        for name in node.kwd_attrs:
            self._refuse(node, names.pattern_refusal(name))
        node.patterns = self._all(node.patterns)
        node.kwd_patterns = self._all(node.kwd_patterns)
        return node

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> Any:
        self.check_name(node, node.name)
        return self._contents(node)

    visit_MatchStar = visit_MatchAs

    def _pattern_value(self, node: ast.expr) -> ast.expr:
        """A dotted name must stay one; anything else is visited."""
        part = node
        while isinstance(part, ast.Attribute):
            self._refuse(part, names.pattern_refusal(part.attr))
            part = part.value
        visited: ast.expr = self.visit(part)
        return visited if part is node else node
