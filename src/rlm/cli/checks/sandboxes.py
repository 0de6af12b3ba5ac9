"""What `rlm doctor` says of sandboxes: of each, what is there, what is missing and how to get it; and of the one that a
run would use, whether it works. Only that one is started; nothing is fetched or pulled for the others."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from rlm.cli.checks import Check
from rlm.core.exceptions import RLMError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.config import Config
    from rlm.core.types import Choice
    from rlm.repl.guest.linux.confine import Layer

_USE = "rlm exec --env {name} -c 1"
"""What gets all that a sandbox fetches or makes at its first use."""


def sandbox_checks(config: Config) -> Iterator[Check]:
    """A line for each sandbox and its parts, and last the one that a run would use."""
    yield from _local()
    yield from _wasm(config)
    yield from _docker(config)
    yield _used(config)


def _local() -> Iterator[Check]:
    from rlm.repl.guest.linux.confine import missing
    from rlm.repl.local.sandbox import probe

    report = asyncio.run(probe())
    lacks = ", ".join(layer.name for layer in missing(report.layers))
    if lacks or not any(layer.active for layer in report.layers):
        hint = "it needs Linux 5.13 or later, in a container that permits Landlock and seccomp; else use wasm or docker"
        yield Check(name="local", ok=False, detail=f"can't confine code on {report.system}: {lacks}", hint=hint)
    else:
        yield Check(name="local", ok=True, detail=f"confines code on {report.system}")
    yield from _parts("local", report.layers)


def _wasm(config: Config) -> Iterator[Check]:
    from rlm.repl.wasm.sandbox import probe, settings_of

    layers = probe(settings_of(config))
    broken = next((layer for layer in layers if not layer.active), None)
    if broken is None:
        yield Check(name="wasm", ok=True, detail="everything is here")
    else:
        can_be_had = broken.name in ("pyodide", "snapshot")
        hint = f"to have it now: {_USE.format(name='wasm')}" if can_be_had else ""
        yield Check(name="wasm", ok=False, detail=f"{broken.name} is missing", hint=hint)
    yield from _parts("wasm", layers)


def _docker(config: Config) -> Iterator[Check]:
    from rlm.repl.docker.engines import Refused

    try:
        engine, image = asyncio.run(_engine_and_image(config.docker.image))
    except Refused as error:
        pull = f"get it: docker pull {config.docker.image}; or set docker.image to one that has Python 3.11 or later"
        detail, hint = (f"no image {config.docker.image}", pull) if error.status == _NOT_FOUND else _split(error)
        yield Check(name="docker", ok=False, detail=detail, hint=hint)
    except RLMError as error:
        detail, hint = _split(error)
        yield Check(name="docker", ok=False, detail=detail, hint=hint)
    else:
        yield Check(name="docker", ok=True, detail=f"{engine}; image {config.docker.image} ({image[:19]})")


_NOT_FOUND = 404


async def _engine_and_image(image: str) -> tuple[str, str]:
    """The engine in words, and the id of the image."""
    from rlm.repl.docker.engines import Engine

    engine = await Engine.connect()
    try:
        version = await engine.ask(lambda client: str(client.version()["Version"]))
        found = await engine.ask(lambda client: str(client.inspect_image(image)["Id"]))
    finally:
        await engine.aclose()
    return f"engine {version} at {engine.address.shown}", found


def _parts(sandbox: str, layers: tuple[Layer, ...]) -> Iterator[Check]:
    for layer in layers:
        detail, _, hint = layer.detail.partition("\n")
        yield Check(name=layer.name, part_of=sandbox, ok=layer.active, detail=detail, hint=hint)


def _used(config: Config) -> Check:
    """Run one cell where a run would run its cells."""
    try:
        seconds, choice = asyncio.run(_open_once(config))
    except RLMError as error:
        detail, hint = _split(error)
        return Check(name="sandbox", ok=False, detail=detail, exit_code=error.exit_code, hint=hint)
    name = config.environment if choice is None else f"auto takes {choice.environment}"
    passed_over = {} if choice is None else choice.passed_over
    return Check(
        name="sandbox",
        ok=True,
        detail=f"{name}: first cell after {seconds * 1000:.0f} ms",
        hint="\n".join(f"not {name}: {' '.join(why.split())}" for name, why in passed_over.items()),
    )


async def _open_once(config: Config) -> tuple[float, Choice | None]:
    """Seconds from nothing to the end of a cell, and what was chosen."""
    from rlm import repl
    from rlm.core.contexts.context import Context
    from rlm.core.types import ReplSpec

    begun_at = time.monotonic()
    sandbox = repl.load(config.environment).from_config(config)
    try:
        opened = await sandbox.open(Context.empty(), ReplSpec(call=_no_calls))
        try:
            await opened.execute("1 + 1")
        finally:
            await opened.aclose()
        return time.monotonic() - begun_at, sandbox.traits.choice
    finally:
        await sandbox.aclose()


async def _no_calls(name: str, _args: object, _kwargs: object) -> None:
    raise LookupError(name)


def _split(error: RLMError) -> tuple[str, str]:
    what, _, hint = str(error).partition("\n")
    return what, hint
