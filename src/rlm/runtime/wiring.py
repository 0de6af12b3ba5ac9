"""What lives as long as an RLM and is shared by its runs: backends, sandboxes, workers, connections."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlm import repl
from rlm.hooks.approval import ask_terminal
from rlm.processes.worker import WorkerPool
from rlm.runtime.hooks import HookSet
from rlm.runtime.live_runs import LiveRuns
from rlm.store.replies import SqliteReplies, cache_path
from rlm.tools.mcp.connected_tools import ConnectedTools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.config import Config, HooksConfig
    from rlm.core.interfaces import ReplyCache, Sandbox, Sink, Tool
    from rlm.hooks.approval import Approver
    from rlm.runtime.models import BackendPool

CLOSE_S = 10.0
"""How long REPLs may take to close once no run is left, in seconds: a session may have to be saved."""


@dataclass(slots=True, kw_only=True)
class Parts:
    """What lives as long as an RLM; used on its event loop only."""

    backends: BackendPool
    tools: tuple[Tool, ...]
    sinks: tuple[Sink, ...]
    workers: WorkerPool = field(default_factory=WorkerPool)
    running: set[asyncio.Task[Any]] = field(default_factory=set)
    """The tasks in which runs are made, which `cancel` ends."""
    closing: set[asyncio.Future[None]] = field(default_factory=set)
    """REPLs that are being closed though their runs have ended."""
    sandboxes: dict[str, Sandbox] = field(default_factory=dict)
    replies: ReplyCache | None = None
    live: LiveRuns = field(default_factory=LiveRuns)
    """The runs in progress, as others see them and act on them."""
    connected: ConnectedTools = field(default_factory=ConnectedTools)
    approver: Approver = ask_terminal
    """Asks somebody whether a tool may be called."""
    hook_sets: dict[HooksConfig, HookSet] = field(default_factory=dict)
    """Used by `hooks` alone."""

    def sandbox(self, config: Config) -> Sandbox:
        """The sandbox of this configuration, made at first use.

        Raises:
            ConfigError: it can't be configured so.
        """
        if config.environment not in self.sandboxes:
            self.sandboxes[config.environment] = repl.load(config.environment).from_config(config)
        return self.sandboxes[config.environment]

    def cache(self, config: Config) -> ReplyCache | None:
        """The replies that are kept across runs, opened once; None where the configuration keeps none."""
        if config.cache and self.replies is None:
            self.replies = SqliteReplies(cache_path(os.environ))
        return self.replies if config.cache else None

    def hooks(self, config: Config) -> HookSet | None:
        """The hooks of this configuration, loaded once; None where it names none. Blocks while it imports them.

        Raises:
            ConfigError: one can't be loaded.
        """
        named = config.hooks
        if not (named.use or named.files or named.approve):
            return None
        if named not in self.hook_sets:
            self.hook_sets.setdefault(named, HookSet(named, self.approver))
        return self.hook_sets[named]

    @contextmanager
    def in_progress(self) -> Iterator[None]:
        """Have `cancel` and `aclose` end the current task for as long as this context lasts."""
        task = asyncio.current_task()
        assert task is not None
        self.running.add(task)
        try:
            yield
        finally:
            self.running.discard(task)

    def cancel(self) -> None:
        """Cancel every run in progress; each ends with a result."""
        for task in self.running:
            task.cancel()

    async def aclose(self) -> None:
        """Cancel the runs in progress and close everything, sinks last; an error in one keeps no other open."""
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self.live.aclose)
            for sink in self.sinks:
                closing.callback(sink.close)
            for hooks in self.hook_sets.values():
                closing.callback(hooks.close)
            closing.push_async_callback(self.workers.aclose)
            closing.push_async_callback(self.backends.aclose)
            closing.push_async_callback(self.connected.aclose)
            for sandbox in self.sandboxes.values():
                closing.push_async_callback(sandbox.aclose)
            self.cancel()
            await asyncio.gather(*self.running, return_exceptions=True)
            if self.closing:
                await asyncio.wait(self.closing, timeout=CLOSE_S)
