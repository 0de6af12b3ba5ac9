"""The nodes of a cluster and a worker on each: the one module that speaks to Ray."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.exceptions import ConfigError, RunFailed
from rlm.core.extras import install_command
from rlm.jobs.engines.cluster.messages import Probed, RunAnswered, RunAsked
from rlm.jobs.engines.cluster.worker import ClusterWorker
from rlm.version import __version__

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.runtime.control import Act

PROBE_S = 120.0
"""How long a worker may take to start and to look about on its node, in seconds."""
START_S = 60.0
"""How long a worker in the place of another may take to start, in seconds."""
STOP_S = 20.0


class WorkerLost(Exception):
    """The worker that was to make a run is gone; the record has what the run came to by then."""


@dataclass(slots=True, kw_only=True, eq=False)
class NodeWorker:
    """A worker on a node."""

    node: str
    handle: Any
    running: set[str] = field(default_factory=set)
    """The ids of the runs that it makes."""

    async def run(self, asked: RunAsked) -> RunAnswered:
        """What a run came to.

        Raises:
            WorkerLost: the worker was lost before it could say.
        """
        import ray

        self.running.add(asked.run_id)
        try:
            return msgspec.json.decode(await self.handle.run.remote(msgspec.json.encode(asked)), type=RunAnswered)
        except ray.exceptions.RayError as error:
            raise WorkerLost(f"the worker on node {self.node[:8]} was lost: {_first_line(error)}") from error
        finally:
            self.running.discard(asked.run_id)

    async def probe(self, config: Config, mark: str) -> Probed:
        """What the worker finds on its node.

        Raises:
            ConfigError: no worker can be had there.
        """
        import ray

        try:
            async with asyncio.timeout(PROBE_S):
                found = await self.handle.probe.remote(msgspec.json.encode(config), mark)
        except (ray.exceptions.RayError, TimeoutError) as error:
            raise ConfigError(
                f"no worker starts on node {self.node[:8]}: {_first_line(error)}\ninstall rlm {__version__} there"
            ) from error
        return msgspec.json.decode(found, type=Probed)

    async def answers(self) -> bool:
        """Whether it has started."""
        import ray

        try:
            async with asyncio.timeout(START_S):
                await self.handle.seen.remote("", 0)
        except (ray.exceptions.RayError, TimeoutError):
            return False
        return True

    async def seen(self, run_id: str, known: int) -> bool:
        """Wait until a run has more than `known` events; False: it has ended, or its worker has."""
        import ray

        try:
            return bool(await self.handle.seen.remote(run_id, known))
        except ray.exceptions.RayError:
            return False

    def act(self, run_id: str, act: Act) -> None:
        """Act on a run, if it is still in progress."""
        self.handle.act.remote(run_id, msgspec.json.encode(act))

    async def stop(self) -> None:
        """Land what it does, and end it."""
        import ray

        with suppress(ray.exceptions.RayError, TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self.handle.stop.remote()

    def kill(self) -> None:
        """End it at once: a node that can't be reached may still be at work."""
        import ray

        with suppress(ray.exceptions.RayError):
            ray.kill(self.handle, no_restart=True)


class Nodes:
    """A cluster that was joined: that of an address, or one of this machine alone, which ends with it."""

    def __init__(self, address: str | None, max_running: int) -> None:
        self._address = address
        self._max_running = max_running
        self._is_ours = False

    def join(self) -> None:
        """Join the cluster, or start one on this machine; blocks.

        Raises:
            ConfigError: there is no Ray here, none at that address, or it is of another version.
        """
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            import ray
        except ImportError as error:
            raise ConfigError(f"the engine ray takes a package: {install_command('ray')}") from error
        if ray.is_initialized():
            return
        if self._address is not None:
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        try:
            ray.init(
                address=self._address or "local",
                include_dashboard=None if self._address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (RuntimeError, ConnectionError, ValueError, OSError, ray.exceptions.RayError) as error:
            where = self._address or "this machine"
            raise ConfigError(
                f"no cluster can be joined at {where}: {_first_line(error)}\n"
                "Ray and Python have to be of the same version everywhere; a cluster that takes a token wants it in "
                "RAY_AUTH_TOKEN, and one that takes none RAY_AUTH_MODE=disabled"
            ) from error
        self._is_ours = True

    def workers(self) -> list[NodeWorker]:
        """A worker for each processor of each node, as long as there is work for so many.

        Raises:
            ConfigError: no node is alive.
        """
        alive = self._alive()
        if not alive:
            raise ConfigError("no node of the cluster is alive")
        slots = [node for node, processors in alive.items() for _ in range(max(1, processors))]
        firsts = [*alive, *(slots[len(alive) :] if len(slots) > len(alive) else [])]
        return [self._worker(node) for node in firsts[: self._max_running]]

    async def another(self, lost: NodeWorker, *, elsewhere: bool) -> NodeWorker:
        """A worker in the place of one that was lost, once it answers: on its node, or `elsewhere` if that can be, for
        a node that was lost may be taken for alive a while longer.

        Raises:
            RunFailed: no node has any.
        """
        alive = await asyncio.to_thread(self._alive)
        for node in sorted(alive, key=lambda each: (each == lost.node) == elsewhere):
            made = await asyncio.to_thread(self._worker, node)
            if await made.answers():
                return made
            await asyncio.to_thread(made.kill)
        raise RunFailed("the cluster has no node left that can make a run")

    def _worker(self, node: str) -> NodeWorker:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        kind = ray.remote(ClusterWorker).options(
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=4 * self._max_running + 16,
            num_cpus=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        return NodeWorker(node=node, handle=kind.remote(self._max_running))

    def leave(self) -> None:
        """Leave the cluster, unless this process was in it before; blocks."""
        import ray

        if self._is_ours:
            self._is_ours = False
            ray.shutdown()

    def _alive(self) -> dict[str, int]:
        """The processors of each node that is alive, by its id."""
        import ray

        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return {each["NodeID"]: int(each["Resources"].get("CPU", 1)) for each in nodes if each["Alive"]}


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
