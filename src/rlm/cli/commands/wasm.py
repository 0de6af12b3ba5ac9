"""`rlm wasm`: add packages to the sandbox `wasm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.core.config import Config


def add(
    packages: Annotated[
        list[str], Argument(metavar="PACKAGE...", help="A wheel, the sources of a package, or its name for pip.")
    ],
) -> int:
    """Add packages to the sandbox wasm, for all your runs.

    A wheel is copied; of a source folder or archive one is built, which runs its code: by pip where it is pure Python,
    else by pyodide-build. A name is fetched by pip with all that it needs, as wheels for Pyodide's platform or of pure
    Python. They are kept in wasm.wheels, by default a folder of yours, and named in wasm.packages of your settings.
    """
    import asyncio
    import os

    from rlm.cli.console import say
    from rlm.cli.project_file import set_default
    from rlm.core.config import SCHEMA, Config
    from rlm.core.config.layers import Layers
    from rlm.repl.wasm import wheelhouse
    from rlm.repl.wasm.launcher import pyodide_of

    config = Config.load().config
    folder = _wheels(config)
    pyodide = asyncio.run(pyodide_of(config.wasm, os.environ))
    names = wheelhouse.add(packages, folder, pyodide)
    layers = Layers(SCHEMA)
    wanted = ",".join(dict.fromkeys((*config.wasm.packages, *names)))
    for label, value in (("wasm.wheels", str(folder)), ("wasm.packages", wanted)):
        set_default(layers.read(label, value))
    say(f"added {', '.join(names)} from {folder}")
    return 0


def _wheels(config: Config) -> Path:
    """The folder of the wheels: as it is set, or else one of the user's."""
    import os
    from pathlib import Path

    from rlm.core.config.files import user_folder
    from rlm.core.exceptions import ConfigError

    if config.wasm.wheels is not None:
        return Path(config.wasm.wheels).absolute()
    data = user_folder(os.environ, "XDG_DATA_HOME", ".local/share")
    if data is None:
        raise ConfigError("there is no home for wheels: set HOME or XDG_DATA_HOME, or wasm.wheels")
    return data / "wheels"
