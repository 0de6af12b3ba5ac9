"""The persistent namespace in which cells run, and what a cell came to: its error, its final answer, its changes.

State survives errors. The names bound here are bound again before each cell, so a cell that overwrites one harms
itself only; those offered (`fs`, `code`, ...) may be used for variables, and come back when such a variable is deleted.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import sys
import threading
from dataclasses import dataclass
from threading import current_thread
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from rlm.repl.guest import awaiting, errors, parts
from rlm.repl.guest.carry.carrier import EXPORT, IMPORT, PIECE, Carrier
from rlm.repl.guest.quotes import quotes_of
from rlm.repl.guest.shorten import short_repr
from rlm.repl.guest.wire import as_text, encode_value, refuse_alike_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.repl.guest.interrupts import Interrupts
    from rlm.repl.guest.reserve import Reserve

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_compile: Any = compile
_name_of_type = vars(type)["__name__"].__get__
_lines = linecache.cache
_modules = sys.modules
_builtins = vars(builtins)
_BUILTINS = _builtins.copy()
_PLAIN = frozenset(map(id, (type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)))
"""Known by their ids: the hash of a class of the cells is what that says."""
_recursion_limit, _limit_recursion = sys.getrecursionlimit, sys.setrecursionlimit
_RECURSION_LIMIT = sys.getrecursionlimit()
_HELD_BYTES = 65_536
_SHOWN_CHARS = 1 << 20
"""The source of a longer cell is not kept for tracebacks: what is loaded into a session comes in such cells."""
_threads: Mapping[int, threading.Thread] = threading._active  # type: ignore[attr-defined]  # `enumerate` takes a lock


class Policy(Protocol):
    """What code may be compiled, and with which globals it starts."""

    def compile(self, tree: ast.Module | ast.Expression, filename: str, *, flags: int = 0) -> CodeType:
        """`flags` are the compiler's. Raises:
        SyntaxError: the policy forbids it; the message is fit for the model.
        """
        ...

    def namespace(self) -> dict[str, Any]: ...


class NoPolicy:
    """Plain Python: the policy `off`."""

    def compile(self, tree: ast.Module | ast.Expression, filename: str, *, flags: int = 0) -> CodeType:
        mode = "exec" if isinstance(tree, ast.Module) else "eval"
        code: CodeType = _compile(tree, filename, mode, flags, dont_inherit=True)
        return code

    def namespace(self) -> dict[str, Any]:
        return {}


class FinalGiven(BaseException):
    """Ends a cell after FINAL; not an Exception, so that ordinary handlers let it pass."""

    __module__ = "__repl__"


class _Broken(BaseException):
    """Cells can't be run any more."""


class ShownText(str):
    """Text that shows as itself when it is the last expression of a cell."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOutcome:
    """What a cell came to, in the forms of `done`."""

    error: dict[str, str] | None
    final: dict[str, Any] | None
    changed: list[str]
    interrupted: bool


def form_of(value: Any) -> Any:
    """The wire's form of a guest value; a value without one goes as capped text. Raises:
    TypeError: a dict would lose some of its values on the way, or in JSON.
    """
    form = encode_value(value, other=lambda part: as_text(short_repr(part)))
    refuse_alike_keys(form)
    return form


class Namespace:
    """Runs cells one at a time."""

    def __init__(
        self,
        policy: Policy,
        bound: Mapping[str, Any],
        show: Callable[[str], None],
        reserve: Reserve,
        *,
        offered: Mapping[str, Any] | None = None,
    ) -> None:
        self._policy = policy
        self._show = show
        self._reserve = reserve
        self._final: dict[str, Any] | None = None
        self._is_broken = False
        """What runs around cells failed the last time."""
        self._left: list[threading.Thread] = []
        """The threads that earlier cells left behind."""
        self._bound = {**bound, "FINAL": self._give, "FINAL_VAR": self._give_variable, "SHOW_VARS": self._list}
        self._offered = dict(offered or {})
        self._loop = awaiting.CellLoop()
        self._calling = awaiting.functions_in(self._bound, self._offered)
        module = ModuleType("__repl__")
        _modules["__repl__"] = module  # dataclasses and pickle look classes up there
        self._names = module.__dict__
        self._names.update(policy.namespace())
        self._hidden = frozenset(self._names) | frozenset(self._bound)
        self._names.setdefault("context", None)
        self._builtins: dict[str, Any] = self._names.setdefault("__builtins__", vars(builtins).copy())
        self._builtins_given = self._builtins.copy()
        self._modules_given = _modules.copy()
        self._carrier = Carrier(self._names, self._is_users)
        carrying = {EXPORT: self._carrier.give, PIECE: self._carrier.piece, IMPORT: self._carrier.take}
        self._bound |= carrying
        self._hidden |= carrying.keys()

    def execute(self, code: str, filename: str, interrupts: Interrupts) -> CellOutcome:
        """Run one cell; whatever it raises, and whatever it has broken here, is in the outcome. Raises:
        BaseException: no cell can be run any more.
        """
        was_broken, self._is_broken = self._is_broken, True
        try:
            outcome = self._execute(code, filename, interrupts)
        except BaseException as e:  # guest code can reach all of this, and breaks its own cell only
            if was_broken or issubclass(type(e), _Broken):
                raise
            interrupts.disarm()
            return CellOutcome(error=self._described(e), final=self._final, changed=[], interrupted=False)
        self._is_broken = False
        return outcome

    def _execute(self, code: str, filename: str, interrupts: Interrupts) -> CellOutcome:
        self._mend()
        self._names.update(self._bound, __builtins__=self._builtins)
        self._names.update((name, value) for name, value in self._offered.items() if name not in self._names)
        self._final = None
        self._left = [each for each in list(_threads.values()) if each is not current_thread()]
        before = {name: _stamp(value) for name, value in list(self._names.items()) if not self._is_own(name)}
        error = described = None
        try:
            try:
                self._run(code, filename, interrupts)
            except BaseException as e:  # noqa: BLE001 - whatever guest code raises is a result
                self._mend()
                error, described = e, self._described(e)  # its own `__str__` may run without end: it can be interrupted
            finally:
                interrupts.disarm()
        except BaseException as e:  # noqa: BLE001 - an interrupt struck on the way out
            error, described = e, self._described(e)
        self._mend()
        if issubclass(type(error), _Broken):
            raise error  # type: ignore[misc]
        if error is None or (failed_at := _line_of(error, filename)) is not None:
            self._carrier.note(code, None if error is None else failed_at)
        return CellOutcome(
            error=described,
            final=self._final,
            changed=[name for name, value in list(self._names.items()) if self._is_new(name, value, before)],
            interrupted=issubclass(type(error), KeyboardInterrupt),
        )

    def _described(self, error: BaseException) -> dict[str, str] | None:
        """The error in the form of `done`; None for the end of a cell that gave its final answer."""
        kind = type(error)  # never `isinstance`, which asks the error itself
        if issubclass(kind, MemoryError):
            self._reserve.release()
        given = issubclass(kind, FinalGiven) and self._final is not None
        return None if given else parts.advised(awaiting.advised(errors.describe(error)))

    def _mend(self) -> None:
        """Put back what the library needs that runs around cells, whatever a cell has made of it."""
        if _recursion_limit() < _RECURSION_LIMIT:
            _limit_recursion(_RECURSION_LIMIT)
        if _modules.get("sys") is not sys:
            _modules.update(self._modules_given)
        _builtins.update(_BUILTINS)
        self._builtins.update(self._builtins_given)
        # No code can use what is no text as a name: `globals()[5] = 1` puts it there, and it may answer as it likes.
        names = list(self._names.items())
        if [name for name, _value in names if type(name) is not str]:
            self._names.clear()
            self._names.update((name, value) for name, value in names if type(name) is str)

    def _run(self, code: str, filename: str, interrupts: Interrupts) -> None:
        if len(code) <= _SHOWN_CHARS:
            _lines[filename] = (len(code), None, code.splitlines(keepends=True), filename)
        tree = _parsed(code, filename)
        awaits = False
        if awaiting.may_await(code):
            awaiting.rewrite(tree, self._calling)
            awaits = awaiting.awaits(tree)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if awaits else 0
        shown = None
        if tree.body and isinstance(last := tree.body[-1], ast.Expr):
            tree.body.pop()
            shown = self._policy.compile(ast.Expression(last.value), filename, flags=flags)
        body = self._policy.compile(tree, filename, flags=flags)
        interrupts.arm()
        with self._loop.cell():
            self._loop.evaluate(body, self._names, awaits=awaits)
            value = None if shown is None else self._loop.evaluate(shown, self._names, awaits=awaits)
            if value is not None:
                self._show(short_repr(value))

    def _is_users(self, name: str, value: Any) -> bool:
        """Whether it is a variable of the cells, which may go into another REPL; the context is given to each anew."""
        reserved = name in self._hidden or name == "context" or name.startswith("__")
        return not reserved and (value is None or self._offered.get(name) is not value)

    def _is_new(self, name: str, value: Any, before: Mapping[str, tuple[int, Any]]) -> bool:
        return not self._is_own(name) and (name not in before or before[name][0] != id(value))

    def _is_own(self, name: str) -> bool:
        """Whether what the name stands for is no variable of the cells."""
        return name in self._hidden or name.startswith("__")

    def _give(self, value: Any, sources: Any = ()) -> NoReturn:
        """End the cell with the final answer; the first one given counts. `sources` are quotes of the data."""
        if any(each is current_thread() for each in self._left):
            raise RuntimeError("FINAL: the cell that started this thread has ended")
        form, quotes = form_of(value), quotes_of(sources)
        if self._final is None:
            self._final = {"value": form, **({"sources": quotes} if quotes else {})}
        raise FinalGiven

    def _give_variable(self, name: Any, sources: Any = ()) -> NoReturn:
        """End the cell with the value of a variable, given by its name, as the final answer."""
        if not isinstance(name, str):
            self._give(name, sources)  # models write FINAL_VAR(answer) for FINAL_VAR("answer")
        if name not in self._names:
            raise NameError(f"FINAL_VAR: there is no variable {name!r}; SHOW_VARS() lists those there are")
        self._give(self._names[name], sources)

    def _list(self) -> ShownText:
        """The names, types and sizes of all variables."""
        hidden = self._hidden - {"context"}
        names = {n: v for n, v in list(self._names.items()) if type(n) is str and self._offered.get(n) is not v}
        rows = [_row(n, v) for n, v in names.items() if n not in hidden and not n.startswith("__")]
        return ShownText("\n".join(rows) or "no variables")


def _parsed(code: str, filename: str) -> ast.Module:
    """The tree of a cell. Raises:
    SyntaxError, ValueError, OverflowError, RecursionError, MemoryError: what code can be guilty of.
    _Broken: the parser itself works no more: a cell has put a hook on it that stays.
    """
    try:
        tree: ast.Module = _compile(code, filename, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        raise
    except Exception as e:
        raise _Broken(f"no cell can be parsed any more: {type(e)}") from e
    return tree


def _line_of(error: BaseException, filename: str) -> int | None:
    """The line of the cell at which it failed; None if it did not begin."""
    trace = errors.trace_of(error)
    while trace is not None and trace.tb_frame.f_code.co_filename != filename:
        trace = trace.tb_next
    return None if trace is None else trace.tb_lineno


def _stamp(value: Any) -> tuple[int, Any]:
    """What to compare a variable with after a cell: its id, and the value itself where holding it is cheap.

    An id alone would miss a small value that was freed and whose place was taken by the new one.
    """
    held = id(type(value)) in _PLAIN and value.__sizeof__() < _HELD_BYTES
    return id(value), value if held else None


def _row(name: str, value: Any) -> str:
    try:
        return f"{name}  {_name_of_type(type(value))}{_size(value)}"
    except Exception:  # noqa: BLE001 - an object of the cells, which answers as it likes
        return f"{name}  {_name_of_type(type(value))}"


def _size(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"  shape {shape}"
    if not hasattr(type(value), "__len__"):
        return ""
    unit = "chars" if isinstance(value, str) else "bytes" if isinstance(value, bytes) else "items"
    return f"  {len(value):,} {unit}"
