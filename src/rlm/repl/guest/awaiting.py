"""`await` in cells: at their top, and on the functions that call the host, several of which then wait at one time.

Which form of such a function is meant is decided by syntax. A call of it under `await`, or written as an argument of
what asyncio starts awaitables with (`STARTERS`), in a list or comprehension there too, is its async form; everywhere
else the function blocks, and its value is what it always is. Cells share one event loop; what a cell leaves unfinished
in it is cancelled as the cell ends.
"""

from __future__ import annotations

import ast
import builtins
from contextlib import contextmanager
from inspect import CO_COROUTINE
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.errors import with_advice
from rlm.repl.guest.objects import HelperObject

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from types import CodeType

    from rlm.repl.guest.link import Link

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

FORM = "async form"
"""The name in a namespace by which rewritten code finds async forms; no code of a cell can write it."""
STARTERS = frozenset(
    {"gather", "create_task", "ensure_future", "wait", "wait_for", "as_completed", "shield", "run"}
) | {"run_until_complete"}
_WORDS = ("await", "async", *STARTERS)
_AWAITED_VALUE = ("in 'await' expression", "can't be awaited", "awaitable is required", "a coroutine was expected")
_ADVICE = (
    "llm_query and other functions of the host give a coroutine only where the call itself stands right after await, "
    "or in the arguments of asyncio.gather or create_task; elsewhere they wait and give their value"
)
_AWAITS = (ast.Await, ast.AsyncFor, ast.AsyncWith)
_INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_evaluate = eval


def advised(error: dict[str, str]) -> dict[str, str]:
    """The description of an error, with advice where a value was awaited in place of the call that gave it."""
    if error["kind"] != "TypeError" or not any(words in error["message"] for words in _AWAITED_VALUE):
        return error
    return with_advice(error, _ADVICE)


def functions_in(bound: Mapping[str, Any], offered: Mapping[str, Any]) -> frozenset[str] | None:
    """The dotted names of functions that may have an async form; None where there are no such forms."""
    objects = {name: value for name, value in offered.items() if isinstance(value, HelperObject)}
    dotted = (f"{name}.{member}" for name, value in objects.items() for member in dir(value))
    return frozenset(dotted) if FORM in bound else None


def may_await(code: str) -> bool:
    """Whether code may await something, or start it, by the words in it: most cells do neither."""
    return not code.isascii() or any(word in code for word in _WORDS)


def rewrite(tree: ast.AST, functions: frozenset[str] | None) -> None:
    """Have calls of `functions`, and of what names stand for, take their async form where it is meant."""
    if functions is not None and any(isinstance(node, (ast.Await, ast.Call)) for node in ast.walk(tree)):
        _Rewriter(functions, _renamed(tree)).visit(tree)


def awaits(tree: ast.AST) -> bool:
    """Whether it awaits outside of functions."""
    if isinstance(tree, _AWAITS) or (isinstance(tree, ast.comprehension) and tree.is_async):
        return True
    return any(awaits(node) for node in ast.iter_child_nodes(tree) if not isinstance(node, _INNER))


def _renamed(tree: ast.AST) -> dict[str, str]:
    """The starters that a cell imports by another name."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "asyncio"]
    return {name.asname: name.name for node in imports for name in node.names if name.asname}


class _Rewriter(ast.NodeTransformer):
    def __init__(self, functions: frozenset[str], renamed: dict[str, str]) -> None:
        self._functions = functions
        self._renamed = renamed

    def visit_Await(self, node: ast.Await) -> ast.AST:
        self.generic_visit(node)
        self._mark(node.value, None)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if self._starts(node.func):
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                self._mark(argument, node.func)
        return node

    def _starts(self, function: ast.expr) -> bool:
        if isinstance(function, ast.Attribute):
            return function.attr in STARTERS
        return isinstance(function, ast.Name) and self._renamed.get(function.id, function.id) in STARTERS

    def _mark(self, node: ast.expr, starter: ast.expr | None) -> None:
        """Mark the calls that an expression awaits, or gives to a starter."""
        match node:
            case ast.Call(func=ast.Name(id="map"), args=[function, *_]) if starter is not None and self._may_be(
                function
            ):
                node.args[0] = self._marked(function, starter)
            case ast.Call(func=function) if self._may_be(function):
                node.func = self._marked(function, starter)
            case ast.Starred(value=value) | ast.NamedExpr(value=value):
                self._mark(value, starter)
            case ast.ListComp(elt=value) | ast.SetComp(elt=value) | ast.GeneratorExp(elt=value):
                self._mark(value, starter)
            case ast.List(elts=values) | ast.Tuple(elts=values) | ast.Set(elts=values):
                for value in values:
                    self._mark(value, starter)
            case ast.IfExp(body=first, orelse=second):
                self._mark(first, starter)
                self._mark(second, starter)

    def _may_be(self, function: ast.expr) -> bool:
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            return f"{function.value.id}.{function.attr}" in self._functions
        return isinstance(function, ast.Name)

    def _marked(self, function: ast.expr, starter: ast.expr | None) -> ast.expr:
        """The async form of what `function` is, if it has one, and if `starter` is one of asyncio's."""
        given = [function] if starter is None or not _is_dotted(starter) else [function, _copy(starter)]
        made = ast.Call(func=ast.Name(FORM, ast.Load()), args=given, keywords=[])
        return ast.fix_missing_locations(ast.copy_location(made, function))


def _is_dotted(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _copy(node: ast.expr) -> ast.expr:
    """A copy of a dotted name, for a tree must hold each node once."""
    if isinstance(node, ast.Attribute):
        return ast.copy_location(ast.Attribute(_copy(node.value), node.attr, ast.Load()), node)
    assert isinstance(node, ast.Name)
    return ast.copy_location(ast.Name(node.id, ast.Load()), node)


class Forms:
    """The async forms of the functions of one guest."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._forms: dict[int, tuple[object, Callable[..., Awaitable[Any]]]] = {}

    def add(self, function: Callable[..., Any], send: Callable[..., Any], receive: Callable[[Any], Any]) -> None:
        """Make the async form: `send` calls `Link.begin` with the arguments, `receive` makes the value of the reply."""

        async def form(*args: Any, **kwargs: Any) -> Any:
            return receive(await self._reply(send, args, kwargs))

        form.__name__ = form.__qualname__ = function.__name__
        form.__module__ = function.__module__
        self.put(function, form)

    def put(self, function: Callable[..., Any], form: Callable[..., Awaitable[Any]]) -> None:
        """Have a function stand for `form` where that is meant."""
        self._forms[id(function)] = (function, form)

    def find(self, function: Any, starter: Any = None) -> Any:
        """The async form of a function that has one, else the function; also where `starter` isn't asyncio's."""
        if starter is not None and not str(getattr(starter, "__module__", "")).startswith("asyncio"):
            return function
        known = self._forms.get(id(function))
        return function if known is None else known[1]

    async def _reply(self, send: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
        import asyncio

        loop: Any = asyncio.get_running_loop()
        arrived = loop.create_future()
        number = send(self._link.begin, args, kwargs, lambda: _wake(loop, arrived))
        loop.watch(self._link)
        try:
            await arrived
            return self._link.take(number)
        finally:
            loop.unwatch(self._link)
            self._link.forget(number)


def _wake(loop: asyncio.AbstractEventLoop, arrived: asyncio.Future[None]) -> None:
    """Tell a task that its reply is there, from whichever thread read it."""

    def wake() -> None:
        if not arrived.done():
            arrived.set_result(None)

    if not loop.is_closed():
        loop.call_soon_threadsafe(wake)


async def _evaluated(code: CodeType, names: dict[str, Any]) -> Any:
    value = _evaluate(code, names)
    return await value if code.co_flags & CO_COROUTINE else value


class CellLoop:
    """The event loop of the cells of one namespace."""

    def __init__(self) -> None:
        self._loop: Any = None

    def evaluate(self, code: CodeType, names: dict[str, Any], *, awaits: bool) -> Any:
        """Run compiled code of a cell, in the loop if the cell `awaits`; the value of an expression."""
        if not awaits:
            return _evaluate(code, names)
        if self._loop is None:
            import asyncio

            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(_evaluated(code, names))

    @contextmanager
    def cell(self) -> Iterator[None]:
        """One cell: what it leaves unfinished is cancelled; after an interrupt it is dropped as it stands."""
        try:
            yield
        except KeyboardInterrupt:
            self._drop()
            raise
        except BaseException:
            self._cancel()
            raise
        else:
            self._cancel()

    def _cancel(self) -> None:
        left = self._left()
        for task in left:
            task.cancel()
        if left:
            import asyncio

            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    def _drop(self) -> None:
        for task in self._left():
            task._log_destroy_pending = False
        self._loop = None

    def _left(self) -> list[Any]:
        if self._loop is None:
            return []
        import asyncio

        return [task for task in asyncio.all_tasks(self._loop) if not task.done()]
