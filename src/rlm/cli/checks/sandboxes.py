"""What `rlm doctor` says of sandboxes: of each, what is there, what is missing and how to get it; and of the one that a
run would use, whether it works. Only that one is started; nothing is fetched or pulled for the others."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from rlm.cli.checks import Check
from rlm.core.exceptions import RLMError
from rlm.repl import SANDBOXES, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.config import Config
    from rlm.core.types import Choice
    from rlm.repl.sandbox import Probe


def sandbox_checks(config: Config) -> Iterator[Check]:
    """A line for each sandbox and its parts, and last the one that a run would use."""
    for name in SANDBOXES:
        yield from _checks_of(name, config)
    yield _used(config)


def _checks_of(name: str, config: Config) -> Iterator[Check]:
    try:
        kind = load(name)
        probe: Probe = asyncio.run(kind.probe(kind.section(config)))
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
    from rlm.core.contexts.context import Context
    from rlm.core.types import ReplSpec

    begun_at = time.monotonic()
    sandbox = load(config.environment).from_config(config)
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
