"""The checks of `rlm doctor`; each is one line that says what it found, and how to get what is missing."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from rlm.cli.checks import Check
from rlm.cli.checks.sandboxes import sandbox_checks
from rlm.core.exceptions import ConfigError, RLMError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.config import Config, Loaded

KEYS = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY")
PACKAGES = ("msgspec", "aiohttp", "RestrictedPython", "typer")
MIN_PYTHON = (3, 11)


def all_checks() -> list[Check]:
    """Every check, in the order in which a run would meet them."""
    found = [_versions(), _python()]
    try:
        loaded = _load()
    except ConfigError as error:
        what, _, hint = str(error).partition("\n")
        return [*found, Check(name="configuration", ok=False, detail=what, exit_code=error.exit_code, hint=hint)]
    found += _configuration(loaded)
    found += [_model(loaded.config), *sandbox_checks(loaded.config), _log_dir(loaded.config), _keys()]
    return found


def _versions() -> Check:
    from rlm.version import __version__

    shown = [f"rlm {__version__}", *(f"{name} {_version(name)}" for name in PACKAGES)]
    return Check(name="versions", ok=True, detail=", ".join(shown))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _python() -> Check:
    detail = f"{platform.python_version()} on {platform.system()} {platform.release()}, {platform.machine()}"
    if sys.version_info >= MIN_PYTHON:
        return Check(name="python", ok=True, detail=detail)
    return Check(name="python", ok=False, detail=detail, exit_code=2, hint="install Python 3.11 or later")


def _load() -> Loaded:
    from rlm.core.config import Config

    return Config.load()


def _configuration(loaded: Loaded) -> Iterator[Check]:
    files = ", ".join(map(str, loaded.files)) or "no file"
    given = [label for label, origin in loaded.origins.items() if origin.source != "default"]
    yield Check(name="configuration", ok=True, detail=f"{files}; {len(given)} settings differ from the defaults")
    for warning in loaded.warnings:
        what, _, hint = warning.partition("\n")
        yield Check(name="configuration", ok=False, detail=what, hint=hint)


def _model(config: Config) -> Check:
    from rlm import backends

    name = config.model or backends.default_model(os.environ)
    if name is None:
        return Check(name="model", ok=False, detail="no model is set or found", exit_code=4, hint=backends.ways())
    try:
        found = asyncio.run(_look_at(name, config))
    except RLMError as error:
        what, _, hint = str(error).partition("\n")
        return Check(name="model", ok=False, detail=f"{name}: {what}", exit_code=error.exit_code or 4, hint=hint)
    said = name if config.model else f"{name} (chosen, since no model is set; choose another with --model)"
    return Check(name="model", ok=True, detail=f"{said}{found}")


async def _look_at(name: str, config: Config) -> str:
    """What there is to say of a model once its server was asked, or its backend made where there is no server to ask.

    Raises:
        RLMError: it can't be called.
    """
    from rlm import backends
    from rlm.runtime.reachable import listed

    provider, model = backends.resolve(name)
    setup = backends.BackendSetup(config=config, environ=os.environ)
    if provider in ("openai", "anthropic"):
        names = await listed(provider, setup)
        if not names or model in names:
            return "; its server answers"
        some = ", ".join(sorted(names)[:5])
        return f"; its server answers, and doesn't list that model: it has {some}{', ...' if len(names) > 5 else ''}"
    if provider == "litellm":
        backends.refuse_slips(model)
    backend = backends.create(provider, setup)
    if provider == "litellm" and config.litellm.base_url is None:
        from rlm.backends.litellm.names import check_name

        check_name(model, os.environ)
    await backend.aclose()
    return ""


def _log_dir(config: Config) -> Check:
    from rlm.trajectory.places import log_folder

    try:
        path = log_folder(config.log_dir).absolute()
    except ConfigError as error:
        return Check(name="records", ok=False, detail=str(error), exit_code=error.exit_code)
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    check = Check(name="records", ok=True, detail=str(path))
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return check
    return replace(
        check, ok=False, detail=f"{path} can't be written", exit_code=1, hint="set log_dir to another folder"
    )


def _keys() -> Check:
    there = [name for name in KEYS if os.environ.get(name)]
    return Check(name="keys", ok=True, detail=", ".join(there) if there else "none of " + ", ".join(KEYS))
