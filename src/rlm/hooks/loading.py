"""Finds the hooks that the configuration names: those that ship, entry points `rlm.hooks`, modules, and files. Each
has a dict `HOOKS`, from the names of points to functions."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.core import plugins
from rlm.core.exceptions import ConfigError
from rlm.hooks.values import ALIASES, POINTS

if TYPE_CHECKING:
    from rlm.core.config import HooksConfig
    from rlm.hooks.values import Hook, HookPoint

SHIPPED: Mapping[str, str] = {
    "environment": "rlm.hooks.shipped.environment",
    "metrics": "rlm.hooks.shipped.metrics",
    "review": "rlm.hooks.shipped.review",
}
"""The hooks that ship, by their names, and their modules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedHook:
    """A hook, ready to be asked."""

    name: str
    """Where it comes from, and the name of the function."""
    point: HookPoint
    function: Hook
    timeout_s: float | None = None
    """Its deadline; None: that of the configuration."""


def load_hooks(config: HooksConfig) -> tuple[LoadedHook, ...]:
    """The hooks that a configuration names, in its order; this imports code of the user's.

    Raises:
        ConfigError: one can't be found or imported, or its `HOOKS` are not as they should be.
    """
    found: list[LoadedHook] = []
    for name in config.use:
        found += _registered(name, _named(name))
    for file in config.files:
        found += _registered(Path(file).name, _from_file(Path(file)))
    return tuple(found)


def _named(name: str) -> Any:
    if name in SHIPPED:
        return importlib.import_module(SHIPPED[name])
    if name in plugins.names("rlm.hooks"):
        return plugins.load("rlm.hooks", name)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise _unusable(name, error) from error
        known = sorted({*SHIPPED, *plugins.names("rlm.hooks")})
        meant = "".join(f"\ndid you mean {near}?" for near in get_close_matches(name, known, n=1))
        raise ConfigError(f"[hooks] use: there are no hooks {name!r}; there are: {', '.join(known)}{meant}") from error
    except Exception as error:
        raise _unusable(name, error) from error


def _from_file(path: Path) -> Any:
    module_name = f"rlm_hooks_{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError(f"[hooks] files: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _unusable(str(path), error) from error
    return module


def _registered(name: str, source: Any) -> Iterator[LoadedHook]:
    """The hooks of a module, or of a dict of them."""
    hooks = source if isinstance(source, Mapping) else getattr(source, "HOOKS", None)
    if not isinstance(hooks, Mapping):
        raise ConfigError(f"[hooks] {name}: it has no dict HOOKS, from the names of points to functions")
    for key, functions in hooks.items():
        point = ALIASES.get(key, key)
        if point not in POINTS:
            meant = "".join(f"; did you mean {near}?" for near in get_close_matches(str(key), POINTS, n=1))
            raise ConfigError(f"[hooks] {name}: there is no point {key!r}, but {', '.join(POINTS)}{meant}")
        for function in functions if isinstance(functions, list | tuple) else [functions]:
            if not callable(function):
                raise ConfigError(f"[hooks] {name}: {key}: {function!r} is not a function")
            called = getattr(function, "__name__", type(function).__name__)
            yield LoadedHook(name=f"{name}:{called}", point=point, function=function)


def _unusable(name: str, error: BaseException) -> ConfigError:
    return ConfigError(f"[hooks] {name} can't be loaded: {type(error).__name__}: {error}")
