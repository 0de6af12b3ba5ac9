"""Loads skills in the guest: code that was saved, run once in a namespace of its own, under the policy that cells have.

The code comes from the host and is trusted no more than a cell.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest.awaiting import functions_in, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.repl.guest.namespace import Policy

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

LOAD = "load_skill"
"""The name of the host's function; in the guest, the function of that name gives what the skill defines."""
OBJECT = "skills"

_parse: Any = compile
_run = exec
_lines = linecache.cache
_DEFINING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class GuestSkill:
    """A skill that was loaded: its public functions and classes, and `requires`, the modules that it imports.

    Calling it calls the main function: that of the skill's name, or the only one.
    """

    __module__ = "__repl__"
    __slots__ = ("__dict__", "_main", "_title")

    def __init__(self, title: str, members: Mapping[str, Any], main: Any) -> None:
        self._title = title
        self._main = main
        self.__dict__.update(members)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._main is None:
            own = ", ".join(name for name in dir(self) if name != "requires")
            raise TypeError(f"{self._title} can't be called by itself: call one of its own: {own}")
        return self._main(*args, **kwargs)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self._title} has no {name!r}; it has {', '.join(dir(self))}")

    def __dir__(self) -> list[str]:
        return sorted(self.__dict__)

    def __repr__(self) -> str:
        return f"<{self._title}: {', '.join(dir(self))}>"


class Skills:
    """The object `skills`: `skills.NAME` is the skill of that name, loaded at first use."""

    __module__ = "__repl__"
    __slots__ = ("_load",)

    def __init__(self, load: Callable[[str], GuestSkill]) -> None:
        self._load = load

    def __getattr__(self, name: str) -> GuestSkill:
        if name.startswith("_"):
            raise AttributeError(f"there is no skill {name!r}")
        return self._load(name)

    def __repr__(self) -> str:
        return "<skills: skills.NAME(...) calls one>"


class Loader:
    """Makes what the host sends as `{"name", "version", "code"}` callable; each name once in a REPL."""

    def __init__(self, fetch: Callable[[str], Mapping[str, Any]], policy: Policy, offered: Mapping[str, Any]) -> None:
        """`offered` are the names that skills find besides builtins: functions that call the host."""
        self._fetch = fetch
        self._policy = policy
        self._offered = {**offered, LOAD: self.load_skill, OBJECT: Skills(self.load_skill)}
        self._loaded: dict[str, GuestSkill] = {}

    def load_skill(self, name: str) -> GuestSkill:
        """Load a saved skill by its name: what it defines, as attributes; calling it calls its main function."""
        if name not in self._loaded:
            sent = self._fetch(name)
            self._loaded[name] = self._made(sent["name"], sent["version"], sent["code"])
        return self._loaded[name]

    def _made(self, name: str, version: int, code: str) -> GuestSkill:
        title = f"skill {name} {version}"
        filename = f"<{title}>"
        _lines[filename] = (len(code), None, code.splitlines(keepends=True), filename)
        tree: ast.Module = _parse(code, filename, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
        rewrite(tree, functions_in(self._offered, self._offered))
        public = [n for n in tree.body if isinstance(n, _DEFINING) and not n.name.startswith("_")]
        functions = [node.name for node in public if not isinstance(node, ast.ClassDef)]
        requires = _imports(tree)
        names = self._namespace(name)
        try:
            _run(self._policy.compile(tree, filename), names)
        except ImportError as error:
            raise ImportError(f"{title} needs what this sandbox doesn't have: {error}") from None
        main = name if name in functions else functions[0] if len(functions) == 1 else ""
        members = {node.name: names[node.name] for node in public if node.name in names}
        if not members:
            raise TypeError(f"{title} has no function or class that can be called by its name")
        return GuestSkill(title, {"requires": requires, **members}, names.get(main))

    def _namespace(self, name: str) -> dict[str, Any]:
        module = ModuleType(f"skills.{name}")
        sys.modules[module.__name__] = module  # dataclasses look their classes up there
        names = module.__dict__
        names.update(self._policy.namespace())
        names.update(self._offered)
        return names


def _imports(tree: ast.Module) -> list[str]:
    """The modules that the code imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return sorted(found)
