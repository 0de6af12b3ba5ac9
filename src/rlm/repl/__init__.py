"""Sandboxes by name. Guests import this package too, so it imports nothing until a sandbox is asked for."""

from __future__ import annotations

from typing import Any

SANDBOXES = {
    "local": "rlm.repl.local.launcher:LOCAL",
    "wasm": "rlm.repl.wasm.launcher:WASM",
    "docker": "rlm.repl.docker.launcher:DOCKER",
}
"""Name to `module:Kind`, in the order in which `auto` tries them: what starts fastest first, among boundaries that all
hold."""
AUTO = {"auto": "rlm.repl.auto:AutoSandbox"}
"""The name that stands for the first of them that works."""


def load(name: str) -> Any:
    """What makes the sandbox `name`, by its `from_config`; a `Kind`, unless it is `auto`.

    Raises:
        ConfigError: no sandbox has that name.
        SandboxUnavailableError: what it needs is not installed.
    """
    from importlib import import_module

    from rlm.core.exceptions import ConfigError, SandboxUnavailableError

    rows = AUTO | SANDBOXES
    if name not in rows:
        raise ConfigError(f"there is no sandbox {name!r} in this version; choose from: {', '.join(sorted(rows))}")
    module, _, attribute = rows[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ImportError as e:
        raise SandboxUnavailableError(f"the sandbox {name!r} needs a package that is not installed: {e}") from e
