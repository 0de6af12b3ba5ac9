"""A service in a process of its own under load: 200 runs at once, then a steady rate for a while, after which it must
have no more memory, descriptors and processes than it had once warm. `python -m benchmarks.service_load [SECONDS]
[--rate RUNS]`; 600 seconds at 20 a second are the claim, a minute is what `python -m benchmarks service-load` takes.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, load_baseline, row
from rlm.client import Client
from rlm.core.config import Config, ProviderConfig, ServiceConfig
from rlm.core.exceptions import ConfigError, RunFailed
from rlm.service.tokens import owner_token
from tests.servers.openai_server import completion, openai_server
from tests.support.served import served

AT_ONCE = 200
SECONDS, RATE = 60.0, 20.0
GROWN_MB, GROWN_DESCRIPTORS, GROWN_PROCESSES = 20.0, 8.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a process holds."""

    memory_mb: float
    descriptors: int
    processes: int
    """Those that it has started and that live."""

    @classmethod
    def by(cls, pid: int) -> Held:
        """What the process of that id holds now."""
        status = Path(f"/proc/{pid}/status").read_text()
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return cls(memory_mb=kilobytes / 1e3, descriptors=descriptors, processes=len(children))


def service_load(seconds: float = SECONDS, rate: float = RATE) -> list[Figure]:
    """200 runs at once, then `rate` runs a second for so many seconds: how late they come, and what the service holds
    then that it did not hold before."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_figures(Path(folder), seconds, rate))


async def _figures(folder: Path, seconds: float, rate: float) -> list[Figure]:
    async with openai_server() as server:
        server.default = completion("done")
        config = Config(
            model="openai/m",
            environment="local",
            log_dir=str(folder / "logs"),
            openai=ProviderConfig(base_url=server.base_url, stream=False),
            service=ServiceConfig(port=0, drain_s=0.01),
        )
        async with served(folder, config, OPENAI_API_KEY="none") as service:
            await service.start()
            async with Client(service.url, owner_token(service.folder)) as client:
                await _at_once(client)
                at_once_s = await _at_once(client)
                before = Held.by(service.pid)
                try:
                    worst_s = await _steady(client, seconds, rate)
                except ConfigError as refused:
                    raise RunFailed(f"{rate:g} runs a second are more than this machine makes: {refused}") from refused
                after = Held.by(service.pid)
                server.requests.clear()
    claim = f"after {seconds:g} s of {rate:g} runs a second"
    grown = (after.memory_mb - before.memory_mb, after.descriptors - before.descriptors)
    return [
        Figure(name=f"service: {AT_ONCE} runs at once, until all have ended", value=at_once_s, unit="s"),
        Figure(name=f"service: the slowest run, {claim}", value=worst_s, unit="s"),
        Figure(name=f"service: more memory {claim}", value=grown[0], unit="MB", limit=GROWN_MB),
        Figure(name=f"service: more descriptors {claim}", value=grown[1], unit="", limit=GROWN_DESCRIPTORS),
        Figure(
            name=f"service: more processes {claim}",
            value=max(0, after.processes - before.processes),
            unit="",
            limit=GROWN_PROCESSES,
        ),
    ]


async def _at_once(client: Client) -> float:
    begin = time.perf_counter()
    await asyncio.gather(*(_run(client) for _ in range(AT_ONCE)))
    return time.perf_counter() - begin


async def _steady(client: Client, seconds: float, rate: float) -> float:
    """The time that the slowest of the runs took."""
    begin, going = time.perf_counter(), set[asyncio.Task[float]]()
    for number in range(int(seconds * rate)):
        await asyncio.sleep(max(0.0, begin + number / rate - time.perf_counter()))
        going.add(asyncio.create_task(_run(client)))
    return max(await asyncio.gather(*going))


async def _run(client: Client) -> float:
    begin = time.perf_counter()
    result = await client.run("?")
    assert result.status == "completed", result
    return time.perf_counter() - begin


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service_load", description="A service under load.")
    parser.add_argument("seconds", nargs="?", type=float, default=SECONDS)
    parser.add_argument("--rate", type=float, default=RATE, metavar="RUNS", help="a second")
    options = parser.parse_args(argv)
    for figure in service_load(options.seconds, options.rate):
        print(row(figure, load_baseline()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
