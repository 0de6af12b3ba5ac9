"""Opens a REPL that belongs to no run: cells in a sandbox, with no model, no tools and no record."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm import repl
from rlm.core.contexts.context import Context
from rlm.core.types import Choice, ReplSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from rlm.core.config import Config
    from rlm.core.interfaces import Repl
    from rlm.core.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class BareRepl:
    """A REPL that is open, and where it is."""

    repl: Repl
    choice: Choice
    """The sandbox that was taken, and those that were passed over for it."""


async def _refuse(name: str, _args: tuple[Json, ...], _kwargs: Mapping[str, Json]) -> Json:
    raise LookupError(f"{name} can't be called here: this code belongs to no run")


NO_CALLS = ReplSpec(call=_refuse)
"""A REPL whose code can call nothing on the host."""


@asynccontextmanager
async def bare_repl(
    config: Config, context: Context | None = None, spec: ReplSpec = NO_CALLS
) -> AsyncIterator[BareRepl]:
    """A REPL in a sandbox of its own, open for as long as this context lasts.

    Raises:
        ConfigError: the sandbox can't be configured so.
        SandboxUnavailableError: the sandbox can't run here.
    """
    sandbox = repl.load(config.environment).from_config(config)
    try:
        opened = await sandbox.open(context or Context.empty(), spec)
        try:
            yield BareRepl(repl=opened, choice=sandbox.traits.choice or Choice(environment=config.environment))
        finally:
            await opened.aclose()
    finally:
        await sandbox.aclose()
