"""Sandboxes by name. Guests import this package too, so it imports nothing until a sandbox is asked for."""

from __future__ import annotations

from typing import Any

SANDBOXES = {
    "local": "rlm.repl.local.launcher:LOCAL",
    "wasm": "rlm.repl.wasm.launcher:WASM",
    "docker": "rlm.repl.docker.launcher:DOCKER",
}
"""Name to `module:Kind`, in the order in which `auto` tries them: what starts fastest first, among boundaries that all
hold, all on this machine. Other packages add kinds by the entry points `rlm.sandboxes`, which `auto` never takes."""
REMOTE = {"ssh": "rlm.repl.ssh.launcher:SSH", "e2b": "rlm.repl.e2b.launcher:E2B"}
"""Those on other machines, which are used where they are named: `auto` never takes one."""
AUTO = {"auto": "rlm.repl.auto:AutoSandbox"}
"""The name that stands for the first of them that works."""


def load(name: str) -> Any:
    """What makes the sandbox `name`, by its `from_config`: a `Kind`, unless it is `auto`.

    Raises:
        ConfigError: no sandbox has that name, or the plug-in of that name can't be loaded.
        SandboxUnavailableError: what it needs is not installed.
    """
    from difflib import get_close_matches
    from importlib import import_module

    from rlm.core import plugins
    from rlm.core.exceptions import ConfigError, SandboxUnavailableError

    rows = AUTO | SANDBOXES | REMOTE
    if name not in rows:
        others = plugins.names("rlm.sandboxes")
        if name in others:
            return _plugin(name)
        known = sorted({*rows, *others})
        meant = "".join(f"\ndid you mean {near}?" for near in get_close_matches(name, known, n=1))
        raise ConfigError(f"there is no sandbox {name!r}; choose from: {', '.join(known)}{meant}")
    module, _, attribute = rows[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ImportError as e:
        raise SandboxUnavailableError(f"the sandbox {name!r} needs a package that is not installed: {e}") from e


def _plugin(name: str) -> Any:
    from rlm.core import plugins
    from rlm.core.exceptions import ConfigError
    from rlm.repl.sandbox import Kind

    kind = plugins.load("rlm.sandboxes", name)
    if not isinstance(kind, Kind):
        raise ConfigError(
            f"the plug-in {name!r} is not a sandbox: its entry point must lead to an rlm.repl.sandbox.Kind"
        )
    return kind
