"""What `rlm doctor` says of sandboxes: of each, what is there, what is missing and how to get it; and of the one that a
run would use, whether it works. Only that one is started; nothing is fetched or pulled for the others."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from rlm.cli.checks import Check
from rlm.core import plugins
from rlm.core.exceptions import RLMError
from rlm.repl import REMOTE, SANDBOXES, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.config import Config
    from rlm.core.types import Choice
    from rlm.repl.sandbox import Probe


def sandbox_checks(config: Config) -> Iterator[Check]:
    """A line for each sandbox and its parts, and last the one that a run would use; one on another machine, or of a
    plug-in, only if it is named."""
    for name in SANDBOXES:
        yield from _checks_of(name, config)
    if config.environment not in SANDBOXES and config.environment in {*REMOTE, *plugins.names("rlm.sandboxes")}:
        yield from _checks_of(config.environment, config)
    yield _used(config)


def looked_at(config: Config) -> list[Check]:
    """A line for each sandbox that `auto` may take, without its parts: whether what it needs is here."""
    return [next(_checks_of(name, config)) for name in SANDBOXES]


def _checks_of(name: str, config: Config) -> Iterator[Check]:
    try:
        probe: Probe = asyncio.run(load(name).look(config))
    except RLMError as error:
        detail, hint = _split(error)
        yield Check(name=name, ok=False, detail=detail, hint=hint)
        return
    yield Check(name=name, ok=probe.ok, detail=probe.detail, hint=probe.hint)
    for layer in probe.layers:
        detail, _, hint = layer.detail.partition("\n")
        yield Check(name=layer.name, part_of=name, ok=layer.active, detail=detail, hint=hint)


def _used(config: Config) -> Check:
    """Run one cell where a run would run its cells."""
    try:
        seconds, choice = asyncio.run(_open_once(config))
    except RLMError as error:
        detail, hint = _split(error)
        return Check(name="sandbox", ok=False, detail=detail, exit_code=error.exit_code, hint=hint)
    is_auto = config.environment != choice.environment
    name = f"auto takes {choice.environment}" if is_auto else choice.environment
    return Check(
        name="sandbox",
        ok=True,
        detail=f"{name}: first cell after {seconds * 1000:.0f} ms",
        hint="\n".join(f"not {name}: {' '.join(why.split())}" for name, why in choice.passed_over.items()),
    )


async def _open_once(config: Config) -> tuple[float, Choice]:
    """Seconds from nothing to the end of a cell, and the sandbox that was taken."""
    from rlm.runtime.bare_repl import bare_repl

    begun_at = time.monotonic()
    async with bare_repl(config) as opened:
        await opened.repl.execute("1 + 1")
    return time.monotonic() - begun_at, opened.choice


def _split(error: RLMError) -> tuple[str, str]:
    what, _, hint = str(error).partition("\n")
    return what, hint
