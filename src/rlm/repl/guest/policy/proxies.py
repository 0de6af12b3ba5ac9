"""Stand-ins for modules: a cell never holds a module, only a proxy that shows the public names it may use.

The proxy of a standard module shows what the policy lists. That of a package the user allowed shows its public names
and its own submodules, but of what the package merely re-exports (`numpy.os`, `open`) only what the policy itself
lists. A proxy must hold nothing from which the real module can be had.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import types
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest.policy import classes
from rlm.repl.guest.policy.names import DATA_PACKAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rlm.repl.guest.policy.modules import ModuleFace

_MISSING = object()

_INSTEAD = {
    "os": "use `context` and the tools for data, and `from os.path import basename` for names of paths",
    "pathlib": "use `context` and the tools for data, and `from os.path import basename, splitext` for names of paths",
    "sys": "print() writes the output, FINAL(value) ends the run; what `rlm exec` was given is in argv",
    "subprocess": "no process can be started here; write it in Python",
    "requests": "there is no network here; use `context` and the tools",
    "socket": "there is no network here; use `context` and the tools",
    "urllib.request": "there is no network here; use `context` and the tools",
    "multiprocessing": "use concurrent.futures.ThreadPoolExecutor",
    "pickle": "use json",
    "inspect": "use ast on source text",
    "importlib": "use an import statement",
    "rlm": "what it offers to cells is there by name, without an import",
    "shutil": "use `context` and the tools for data",
    "tempfile": "use io.StringIO or io.BytesIO",
}
"""What to use in place of modules that models ask for."""

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Has packages that compute start no threads of their own, each of which takes memory."""
_DENIED = frozenset({"ctypeslib", "distutils", "f2py", "testing", "tests"})
"""Submodules of allowed packages that compile code, load libraries or run programs."""


class ModuleProxy:
    """Shows the public names of one module; attributes are looked up once and kept."""

    __module__ = "builtins"  # what messages of the guards, and `type(json)`, call it
    __qualname__ = "module"
    __slots__ = ("__dict__", "_find", "_name", "_public")

    def __init__(self, name: str, find: Callable[[str], Any], public: Callable[[], Iterable[str]]) -> None:
        self._name = name
        self._find = find
        self._public = public

    def __getattr__(self, name: str) -> Any:
        found = _MISSING if name.startswith("_") and name != "__version__" else self._find(name)
        if found is _MISSING:
            raise AttributeError(self._absence(name))
        self.__dict__[name] = found
        return found

    def _absence(self, name: str) -> str:
        close = difflib.get_close_matches(name, list(self._public()), n=3)
        return f"{self._name}.{name} is not available here" + (f"; did you mean {', '.join(close)}?" if close else "")

    def __dir__(self) -> list[str]:
        return sorted(self._public())

    def __repr__(self) -> str:
        return f"<module {self._name!r}>"

    def __copy__(self) -> ModuleProxy:
        return self

    def __deepcopy__(self, _memo: object) -> ModuleProxy:
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a module cannot be copied")


ModuleProxy.__name__ = "module"
classes.conceal(ModuleProxy)


class Importer:
    """Gives proxies for the modules that a policy lists, and for the packages that the user allowed."""

    def __init__(
        self, listed: Mapping[str, ModuleFace], packages: Iterable[str], on_demand: Iterable[str] = ()
    ) -> None:
        """`on_demand` are packages that are allowed too, and loaded by the cell that imports them first."""
        self._on_demand = frozenset(on_demand)
        self._packages = frozenset(packages) | self._on_demand
        self._listed = {name: listing for name, listing in listed.items() if name not in self._packages}
        self._proxies: dict[str, ModuleProxy] = {}

    @property
    def names(self) -> frozenset[str]:
        """What an import statement may name; of allowed packages, the packages only."""
        return frozenset(self._listed) | self._packages

    def import_module(self, name: str, bound: str | None = None) -> ModuleProxy:
        """What `import name` binds (the first part), or `import name as bound` (the last). Raises:
        ImportError: it isn't allowed, or isn't there.
        """
        proxy = self._proxy(name)
        return proxy if bound is not None or "." not in name else self._parent(name, proxy)

    def import_name(self, module: str, name: str) -> Any:
        """What `from module import name` binds; raises as `import_module`."""
        if name.startswith("_"):
            raise ImportError(f"cannot import private name {name!r} from {module!r}")
        proxy = self._proxy(module)
        found = getattr(proxy, name, _MISSING)
        if found is not _MISSING:
            return found
        submodule = f"{module}.{name}"
        if submodule in self._listed or (self._is_allowed(submodule) and self._exists(submodule)):
            return self._proxy(submodule)
        raise ImportError(f"cannot import name {name!r} from {module!r}: {proxy._absence(name)}")

    def public(self, module: str) -> list[str]:
        """The names that `from module import *` binds; raises as `import_module`."""
        return [name for name in dir(self._proxy(module)) if not name.startswith("_")]

    def preload(self) -> None:
        """Import every listed module and allowed package that is there."""
        for name in sorted(self.names - self._on_demand):
            try:
                importlib.import_module(self._real_name(name))
            except ImportError:  # a Python built without it; the cell that imports it is told
                continue

    def _real_name(self, name: str) -> str:
        listing = self._listed.get(name)
        return name if listing is None or listing.module is None else listing.module

    def _parent(self, name: str, proxy: ModuleProxy) -> ModuleProxy:
        """The first part of a dotted name, showing the submodule that was imported."""
        top, *rest = name.split(".")
        if self._is_importable(top):
            return self._proxy(top)
        below: dict[str, Any] = {rest[-1]: proxy}
        for part in reversed(rest[:-1]):
            below = {part: _holder(part, below)}
        return _holder(top, below)

    def _is_importable(self, name: str) -> bool:
        return name in self._listed or self._is_allowed(name)

    def _is_allowed(self, name: str) -> bool:
        """It is a package that the user allowed, or a public part of one."""
        parts = name.split(".")
        if any(part.startswith("_") or part in _DENIED for part in parts):
            return name in self._packages
        return any(".".join(parts[:length]) in self._packages for length in range(1, len(parts) + 1))

    def _exists(self, name: str) -> bool:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            return False
        return True

    def _proxy(self, name: str) -> ModuleProxy:
        if name in self._proxies:
            return self._proxies[name]
        if not self._is_importable(name):
            raise ImportError(self._refusal(name), name=name)
        if name.partition(".")[0] in self._on_demand:
            os.environ.update(_ONE_THREAD)
        real = importlib.import_module(self._real_name(name))
        listing = self._listed.get(name)
        made = self._proxy_of_package(name, real) if listing is None else self._proxy_of_listed(name, real, listing)
        self._proxies[name] = made
        return made

    def _refusal(self, name: str) -> str:
        top = name.partition(".")[0]
        instead = _INSTEAD.get(name) or _INSTEAD.get(top)
        close = [] if top in DATA_PACKAGES else difflib.get_close_matches(name, self.names, n=1, cutoff=0.8)
        advice = instead or (f"did you mean {close[0]!r}?" if close else self._way_in(top))
        return f"import of {name!r} is not allowed here; {advice}. Available: {', '.join(sorted(self.names))}"

    def _way_in(self, package: str) -> str:
        """How a package could be had."""
        if self._on_demand and package in DATA_PACKAGES:
            return f"do without it, or have the user install {package!r} beside rlm"
        if package in sys.stdlib_module_names:
            return "do without it"
        return f"do without it, or have the user allow it, if it is installed: --allow-import {package}"

    def _proxy_of_listed(self, name: str, real: types.ModuleType, listing: ModuleFace) -> ModuleProxy:
        offered = listing.names
        if offered is None:
            offered = frozenset(getattr(real, "__all__", None) or (n for n in vars(real) if not n.startswith("_")))
        shown = (offered - listing.without) | listing.instead.keys()
        below = {n.removeprefix(f"{name}.") for n in self._listed if n.startswith(f"{name}.")}

        def find(attribute: str) -> Any:
            if attribute in below:
                return self._proxy(f"{name}.{attribute}")
            if attribute not in shown:
                return _MISSING
            found = listing.instead.get(attribute, _MISSING)
            found = getattr(real, attribute, _MISSING) if found is _MISSING else found
            return _MISSING if isinstance(found, types.ModuleType) else found

        return ModuleProxy(name, find, lambda: [n for n in shown | below if find(n) is not _MISSING])

    def _proxy_of_package(self, name: str, real: types.ModuleType) -> ModuleProxy:
        def find(attribute: str) -> Any:
            if attribute in _DENIED:  # before a lazy one is imported
                return _MISSING
            found = getattr(real, attribute, _MISSING)
            if isinstance(found, types.ModuleType):
                return self._submodule(name, attribute, found)
            return found if self._is_own(found) else _MISSING

        def public() -> list[str]:
            declared = getattr(real, "__all__", None) or vars(real)
            here = [n for n in declared if not n.startswith("_") and n in vars(real)]
            return [n for n in here if find(n) is not _MISSING]

        return ModuleProxy(name, find, public)

    def _submodule(self, name: str, attribute: str, found: types.ModuleType) -> Any:
        """A proxy if it belongs to the same package; an alias such as `numpy.lib.scimath` goes by its real name."""
        for candidate in (f"{name}.{attribute}", found.__name__):
            if self._is_allowed(candidate) and sys.modules.get(candidate) is found and self._is_within(name, found):
                return self._proxy(candidate)
        return _MISSING

    def _is_within(self, name: str, found: types.ModuleType) -> bool:
        return found.__name__.partition(".")[0] == name.partition(".")[0]

    def _is_own(self, found: Any) -> bool:
        """Not a builtin or a standard function that the package re-exports and the policy doesn't list."""
        origin = getattr(found, "__module__", None)
        if not isinstance(found, type | types.FunctionType | types.BuiltinFunctionType) or not isinstance(origin, str):
            return True
        top = origin.partition(".")[0]
        if top not in sys.stdlib_module_names or top in self._packages:
            return True
        return origin in self._listed and getattr(self._proxy(origin), found.__name__, None) is found


def _holder(name: str, shown: Mapping[str, Any]) -> ModuleProxy:
    return ModuleProxy(name, lambda attribute: shown.get(attribute, _MISSING), lambda: shown)
