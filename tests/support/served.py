"""A service in processes that can be killed and started again with the same state: one interpreter that has loaded all
of it, of which each service is forked. Run as a program, this module is that interpreter.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rlm.backends.openai import backend as _wire  # noqa: F401 - loaded before anything is forked
from rlm.core.config import Config
from rlm.jobs.engines import local as _engine  # noqa: F401
from rlm.repl.local import launcher as _sandbox  # noqa: F401
from rlm.service.server import serving


@dataclass(slots=True)
class Served:
    """The services of one state folder."""

    folder: Path
    config: Config
    environ: dict[str, str]
    process: asyncio.subprocess.Process | None = None
    pid: int = 0
    """The process of the service that runs; 0: none does."""
    url: str = ""

    async def start(self) -> None:
        """Start the service, and wait until it has taken up what was left."""
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"start\n")
        said = (await self.process.stdout.readline()).decode().split()
        assert len(said) == 2, "the service did not start"
        self.pid, self.url = int(said[0]), said[1]

    async def end(self, number: signal.Signals) -> None:
        """End the service by that signal, and wait until it is gone."""
        descriptor, self.pid = os.pidfd_open(self.pid), 0
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, gone.set)
        try:
            signal.pidfd_send_signal(descriptor, number)
            await gone.wait()
        finally:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)


@asynccontextmanager
async def served(folder: Path, config: Config, **environ: str) -> AsyncIterator[Served]:
    """Services over that folder, none of which runs yet; what runs at the end is killed."""
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "XDG_STATE_HOME": str(folder / "state"), **environ}
    root = Path(__file__).parent.parent.parent
    made = Served(folder=folder / "service", config=config, environ=env)
    made.process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __spec__.name if __spec__ is not None else __name__),
        *(str(made.folder), msgspec.json.encode(config).decode()),
        cwd=root,
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield made
    finally:
        if made.pid:
            await made.end(signal.SIGKILL)
        assert made.process.stdin is not None
        made.process.stdin.close()
        await made.process.wait()


def main(folder: Path, config: Config) -> None:
    """Fork a service for each line of stdin."""
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            os.open(os.devnull, os.O_RDONLY)
            asyncio.run(_serve(folder, config))
            os._exit(0)


async def _serve(folder: Path, config: Config) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serving(config, folder) as found:
        os.write(1, f"{os.getpid()} {found.url}\n".encode())
        await stop.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Config))
