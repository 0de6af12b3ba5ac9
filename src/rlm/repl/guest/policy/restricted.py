"""The policies of the local sandbox: which Python a cell may write, and which modules it may import.

A layer over the operating system's confinement, never the boundary: it keeps model-written code to what a REPL is for
and tells the model what to write instead. It must not be relied on to hold hostile code; see docs/policy.md.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import operator
from collections import Counter, OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any, Literal

from RestrictedPython.Guards import (
    full_write_guard,
    guarded_iter_unpack_sequence,
    guarded_unpack_sequence,
    safe_builtins,
)
from RestrictedPython.transformer import RestrictingNodeTransformer

from rlm.repl.guest.policy import builtins as policy_builtins
from rlm.repl.guest.policy import classes as policy_classes
from rlm.repl.guest.policy import guards as policy_guards
from rlm.repl.guest.policy import library as policy_library
from rlm.repl.guest.policy import modules as policy_modules
from rlm.repl.guest.policy import names
from rlm.repl.guest.policy.proxies import Importer
from rlm.repl.guest.policy.syntax import RelaxedRules, SyntaxRules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType

_LEVELS = {"strict": policy_modules.STRICT, "relaxed": policy_modules.RELAXED}
_MAX_REFUSALS = 3

_ENCODINGS = ("ascii", "latin_1", "cp1252", "utf_16", "utf_8_sig")
_WARMED = ("_strptime", "copyreg", *(f"encodings.{name}" for name in _ENCODINGS))
"""What standard functions import when first called; a confined guest may be unable to."""

_STRICT_BUILTINS = (
    *names.words(
        "all any ascii bin bytes dict enumerate filter format frozenset iter list map max min next object print "
        "reversed set sorted sum tuple zip type getattr hasattr setattr delattr __build_class__ __import__"
    ),
    *policy_builtins.REFUSED,
)
"""Added to RestrictedPython's own: without them its default policy can hardly be used."""

_STRICT_WRITABLE = frozenset({dict, list, defaultdict, Counter, OrderedDict, deque})

_IN_PLACE: dict[str, Callable[[Any, Any], Any]] = {
    "+=": operator.iadd, "-=": operator.isub, "*=": operator.imul, "/=": operator.itruediv, "%=": operator.imod,
    "**=": operator.ipow, "//=": operator.ifloordiv, "|=": operator.ior, "&=": operator.iand, "^=": operator.ixor,
    "<<=": operator.ilshift, ">>=": operator.irshift, "@=": operator.imatmul,
}  # fmt: skip


class _Relaxed(RelaxedRules, RestrictingNodeTransformer):
    """RestrictedPython's transformer refuses the nodes that no rule names."""


class _Strict(SyntaxRules, RestrictingNodeTransformer):
    """RestrictedPython's default policy, but for imports by proxy and a plain `print`."""

    check_name = RestrictingNodeTransformer.check_name  # type: ignore[assignment]

    def visit_Await(self, node: ast.Await) -> Any:
        """A cell may await the host's functions, at its top."""
        return self.node_contents_visit(node)

    def _bind_all(self, node: ast.ImportFrom, module: str) -> list[ast.stmt]:
        self.error(node, f"import * is not allowed under 'strict'; name what you need from {module}")
        return []

    def visit_Name(self, node: ast.Name) -> Any:
        if isinstance(node.ctx, ast.Load) and node.id == "__name__":
            return ast.copy_location(ast.Constant("__main__"), node)
        if isinstance(node.ctx, ast.Load) and node.id == "print":
            return node
        return super().visit_Name(node)


class RestrictedPolicy:
    """What cells may write (`compile`), what they start with (`namespace`), and what they may import."""

    def __init__(
        self,
        level: Literal["strict", "relaxed"],
        allowed_imports: Sequence[str] = (),
        on_demand: Sequence[str] = (),
    ) -> None:
        """`allowed_imports` names packages whose public names cells may use whole; so does `on_demand`, and those are
        loaded by the cell that imports them first.

        Guards `copy` for the whole process, which is a guest's. Raises:
        ValueError: `level` is not a policy.
        """
        if level not in _LEVELS:
            raise ValueError(f"no policy {level!r}; there are {', '.join(_LEVELS)}")
        policy_library.guard_copying()
        self._strict = level == "strict"
        self._importer = Importer(_LEVELS[level], allowed_imports, on_demand)
        self._writer = policy_guards.Writer({name.partition(".")[0] for name in (*allowed_imports, *on_demand)})
        self.allowed_modules: frozenset[str] = self._importer.names

    def compile(self, tree: ast.Module | ast.Expression, filename: str, *, flags: int = 0) -> CodeType:
        """Rewrite the tree in place and compile it, with `flags` of the compiler. Raises:
        SyntaxError: it isn't allowed; the message says what, at which line, and what to write instead.
        """
        transformer = (_Strict if self._strict else _Relaxed)(self._importer)
        mode = "exec" if isinstance(tree, ast.Module) else "eval"
        try:
            transformer.visit(tree)
            _raise_first(transformer.refusals, filename)
            code: CodeType = builtins.compile(tree, filename, mode, flags | transformer.future_flags, dont_inherit=True)
        except RecursionError:
            raise SyntaxError("the code is nested too deeply; use variables for its parts") from None
        return code

    def namespace(self) -> dict[str, object]:
        """Fresh globals for one REPL: builtins, guards, and the name of the module."""
        made = policy_builtins.make(self._writer)
        made["__import__"] = _import_for_library
        if self._strict:
            _restrict_builtins(made)
        guards = _strict_guards() if self._strict else self._relaxed_guards()
        return {
            "__name__": policy_classes.MODULE_NAME,
            "__builtins__": made,
            "_import_": self._importer.import_module,
            "_import_from_": self._importer.import_name,
            **guards,
        }

    def preload(self) -> None:
        """Import all that cells may import, and what that imports later: call it before a fork or confinement."""
        self._importer.preload()
        for name in _WARMED:
            importlib.import_module(name)

    def _relaxed_guards(self) -> dict[str, object]:
        return {
            "_load_": policy_guards.load,
            "_load_private_": policy_guards.load_private,
            "_getattr_": policy_guards.read,
            "_write_": self._writer.public,
            "_write_private_": self._writer.private,
            "_mark_": policy_classes.Mark(),
            "_metaclass_": policy_classes.metaclass_of,
        }


def _raise_first(refusals: Sequence[tuple[ast.AST, str]], filename: str) -> None:
    if not refusals:
        return
    first = refusals[0][0]
    lines = [f"line {getattr(node, 'lineno', '?')}: {text}" for node, text in refusals[:_MAX_REFUSALS]]
    rest = len(refusals) - _MAX_REFUSALS
    message = "; ".join(lines) + (f"; and {rest} more" if rest > 0 else "")
    raise SyntaxError(message, (filename, getattr(first, "lineno", 1), getattr(first, "col_offset", 0) + 1, None))


def _import_for_library(name: str, *_args: object, **_kwargs: object) -> None:
    """`__import__` as C code calls it on behalf of a cell (`strptime`, numpy): it reads sys.modules afterwards.

    Import statements of cells never come here, and whoever else calls it gets nothing.
    """
    importlib.import_module(name)


def _restrict_builtins(made: dict[str, Any]) -> None:
    """Leave RestrictedPython's own builtins, those without which they can hardly be used, and the refusals."""
    relaxed = made.copy()
    made.clear()
    made.update(safe_builtins)
    made.update((name, relaxed[name]) for name in _STRICT_BUILTINS)
    made["getattr"] = _strict_read


def _strict_guards() -> dict[str, object]:
    return {
        "__metaclass__": type,
        "_getattr_": _strict_attribute,
        "_getitem_": operator.getitem,
        "_getiter_": iter,
        "_write_": _strict_write,
        "_inplacevar_": lambda sign, target, value: _IN_PLACE[sign](target, value),
        "_unpack_sequence_": guarded_unpack_sequence,
        "_iter_unpack_sequence_": guarded_iter_unpack_sequence,
        "_apply_": lambda function, *args, **kwargs: function(*args, **kwargs),
    }


def _strict_read(target: Any, name: str, *default: Any) -> Any:
    if type(name) is str and name.startswith("_"):
        raise AttributeError(f"attribute {name!r} begins with an underscore; 'strict' reads public ones only")
    return policy_guards.read(target, name, *default)


def _strict_attribute(target: Any, name: str) -> Any:
    """As `_strict_read`, for a name that the compiler has passed."""
    return policy_guards.read(target, name) if name in names.CHECKED else policy_guards.load(target, name)


def _strict_write(target: Any) -> Any:
    if type(target) in _STRICT_WRITABLE or policy_classes.is_marked(type(target)):
        return target
    return full_write_guard(target)
