"""Sandboxes by name. Guests import this package too, so it imports nothing until a sandbox is asked for."""

from __future__ import annotations

from typing import Any

SANDBOXES = {
    "auto": "rlm.repl.choice:AutoSandbox",
    "docker": "rlm.repl.docker.sandbox:DockerSandbox",
    "local": "rlm.repl.local.sandbox:LocalSandbox",
    "wasm": "rlm.repl.wasm.sandbox:WasmSandbox",
}
"""Name to `module:Class`."""


def load(name: str) -> Any:
    """The class of the sandbox `name`.

    Raises:
        ConfigError: no sandbox has that name.
        SandboxUnavailableError: what it needs is not installed.
    """
    from importlib import import_module

    from rlm.core.exceptions import ConfigError, SandboxUnavailableError

    if name not in SANDBOXES:
        raise ConfigError(f"there is no sandbox {name!r} in this version; choose from: {', '.join(sorted(SANDBOXES))}")
    module, _, attribute = SANDBOXES[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ImportError as e:
        raise SandboxUnavailableError(f"the sandbox {name!r} needs a package that is not installed: {e}") from e
