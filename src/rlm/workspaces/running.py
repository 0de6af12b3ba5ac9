"""A command in a workspace of its own: the folder goes up, the command runs, what it changed comes home."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from rlm.core.config import Config
from rlm.secrets.masking import masker
from rlm.store.database import Database, store_path
from rlm.workspaces.downloads import Downloaded
from rlm.workspaces.notes import WorkspaceStore, sandboxes_folder
from rlm.workspaces.values import LIMIT_S, MachinePlan, SandboxCommand
from rlm.workspaces.workspace import Keeping, new_id, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path
    from typing import Unpack

    from rlm.workspaces.provider import Provider
    from rlm.workspaces.values import CommandResult, Network

PROVIDERS = ("docker", "e2b")


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRun:
    """What came of a command, and what it changed."""

    sandbox: str
    """The id, by which `rlm sandbox logs` finds its log."""
    result: CommandResult
    downloaded: Downloaded = field(default_factory=Downloaded)
    kept: str | None = None
    """The archive of the folder as it was at the end, where not all of it could come home."""


class SandboxHow(TypedDict, total=False):
    """What may be said of a command besides its words and its folder."""

    stdin: str
    """What it reads: a prompt, say; at most 100 KB."""
    provider: str
    """`docker` by default, or `e2b`."""
    image: str
    """The image of the machine; `docker.image` by default."""
    timeout_s: float
    """How long it may take; an hour by default."""
    network: Network
    """`none` by default: no network at all."""
    on_progress: Callable[[str], None]
    """Is given what the command prints, masked, as it comes."""


def run_in_sandbox(argv: Sequence[str], folder: Path | None = None, **how: Unpack[SandboxHow]) -> SandboxRun:
    """Take `folder` to a new machine, run a command there, bring home what it changed, and end the machine.

    `argv` is run as it is, by no shell. How the command ended is in the result. Raises:
        SandboxUnavailableError: there is no machine to be had; says what to do.
        ConfigError: the folder can't go up, or nothing can come home to it.
    """
    return asyncio.run(arun_in_sandbox(argv, folder, **how))


async def arun_in_sandbox(argv: Sequence[str], folder: Path | None = None, **how: Unpack[SandboxHow]) -> SandboxRun:
    """`run_in_sandbox`, awaited; cancelling it kills the command and ends the machine."""
    config = await asyncio.to_thread(lambda: Config.load().config)
    limit_s = how.get("timeout_s", LIMIT_S)
    plan = MachinePlan(
        workspace=new_id(),
        image=how.get("image", config.docker.image),
        limit_s=limit_s,
        network=how.get("network", "none"),
        ends_with_host=True,
    )
    command = SandboxCommand(argv=tuple(argv), stdin=how.get("stdin", "").encode(), timeout_s=limit_s)
    heard = how.get("on_progress", lambda _text: None)
    async with provider_named(how.get("provider", "docker"), config) as provider:
        return await run_once(provider, plan, keeping(config), folder, command, heard)


async def run_once(
    provider: Provider,
    plan: MachinePlan,
    kept: Keeping,
    folder: Path | None,
    command: SandboxCommand,
    heard: Callable[[str], None],
) -> SandboxRun:
    """Run a command in a workspace that ends with it. Raises: as `run_in_sandbox`."""
    async with opened(provider, plan, kept, folder) as workspace:
        try:
            result = await workspace.run(command, heard)
        except asyncio.CancelledError:
            if folder is not None:
                kept.warn(f"what was there is kept in {await workspace.checkpoint()}")
            raise
        if folder is None or result.exit_code is None:
            return SandboxRun(sandbox=plan.workspace, result=result)
        home = await workspace.download()
        is_whole = not (home.conflicts or home.refused)
        archive = None if is_whole else str(await workspace.checkpoint())
        return SandboxRun(sandbox=plan.workspace, result=result, downloaded=home, kept=archive)


@asynccontextmanager
async def provider_named(name: str, config: Config) -> AsyncIterator[Provider]:
    """A provider, left with the body. Raises:
    SandboxUnavailableError: it isn't there, or doesn't let this user in.
    """
    assert name in PROVIDERS
    provider: Provider
    if name == "docker":
        from rlm.workspaces.docker import DockerMachines

        provider = await DockerMachines.connect()
    else:
        from rlm.workspaces.e2b import E2bMachines

        provider = E2bMachines(config.e2b.template)
    try:
        yield provider
    finally:
        await provider.aclose()


def keeping(config: Config, warn: Callable[[str], None] = lambda _text: None) -> Keeping:
    """With what the workspaces of this user are kept. Raises:
    ConfigError: there is no place for that.
    """
    store = WorkspaceStore(Database(store_path(config.store_path, os.environ)), sandboxes_folder())
    return Keeping(store=store, masker=masker(config.mask), warn=warn)
