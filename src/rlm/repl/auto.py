"""The environment `auto`: the first sandbox in the table that works here.

Each is tried as a run would start it, so that nothing is chosen which then fails, and nothing is looked for twice. What
was passed over is kept, with its reason, for the user and the record. An environment that is named is never replaced.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from rlm.core.exceptions import REPLError, SandboxUnavailableError
from rlm.core.types import Choice, Traits
from rlm.repl import SANDBOXES, load

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.interfaces import Repl, Sandbox
    from rlm.core.types import ReplSpec


class AutoSandbox:
    """Chooses at its first start, once, and from then on is what it chose."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = asyncio.Lock()
        self._sandbox: Sandbox | None = None
        self._choice: Choice | None = None

    @classmethod
    def from_config(cls, config: Config) -> AutoSandbox:
        """The choice among the sandboxes as their sections set them up."""
        return cls(config)

    @property
    def traits(self) -> Traits:
        """The traits of the chosen sandbox, with the choice; known once started."""
        return Traits() if self._sandbox is None else replace(self._sandbox.traits, choice=self._choice)

    async def start(self) -> None:
        """Choose and start; see `Sandbox.start`. Raises:
        SandboxUnavailableError: no sandbox works here; says what each lacks and how to get it.
        """
        await self._chosen()

    async def open(self, context: Context, spec: ReplSpec) -> Repl:
        """Open a REPL in the chosen sandbox; see `Sandbox.open`."""
        return await (await self._chosen()).open(context, spec)

    async def aclose(self) -> None:
        """End the chosen sandbox; idempotent."""
        if self._sandbox is not None:
            await self._sandbox.aclose()

    async def _chosen(self) -> Sandbox:
        async with self._lock:
            if self._sandbox is None:
                self._sandbox, self._choice = await _choose(self._config)
            return self._sandbox


async def _choose(config: Config) -> tuple[Sandbox, Choice]:
    passed_over: dict[str, str] = {}
    for name in SANDBOXES:
        try:
            return await _started(name, config), Choice(environment=name, passed_over=passed_over)
        except REPLError as error:
            passed_over[name] = str(error)
    lacks = "\n".join(f"{name}: {' '.join(why.split())}" for name, why in passed_over.items())
    raise SandboxUnavailableError(f"no sandbox works here, and code is never run without one\n{lacks}")


async def _started(name: str, config: Config) -> Sandbox:
    sandbox: Sandbox = load(name).from_config(config)
    try:
        await sandbox.start()
    except BaseException:
        await sandbox.aclose()
        raise
    return sandbox
