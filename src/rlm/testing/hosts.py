"""No sandbox outlives its host. Run as a program, this module is a host: `python -m rlm.testing.hosts FILE SUITE`."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
import sys
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rlm.repl.live import Limits
from rlm.testing.openers import Opener

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.core.interfaces import Sandbox

_ENDS_S = 30.0
"""How long a sandbox may take to notice; a loaded machine is no defect."""


class Hosts:
    """What holds when a host is killed while a cell runs."""

    pytestmark = pytest.mark.asyncio(loop_scope="class")

    @classmethod
    def guests(cls, host: int) -> set[int]:
        """The processes of this machine that the sandbox of the host process consists of: all that it started, unless
        a suite knows better."""
        return _descendants(host)

    async def test_a_sandbox_ends_with_a_host_that_is_killed(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", __name__, inspect.getfile(type(self)), type(self).__qualname__]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
        host = await asyncio.create_subprocess_exec(*command, env=environ, stdout=asyncio.subprocess.PIPE)
        try:
            assert host.stdout is not None
            assert await host.stdout.readline() == b"running\n"
            with ExitStack() as stack:
                guests = [os.pidfd_open(pid) for pid in self.guests(host.pid)]
                for guest in guests:
                    stack.callback(os.close, guest)
                assert guests
                host.kill()
                async with asyncio.timeout(_ENDS_S):
                    await _ended(guests)
        finally:
            if host.returncode is None:
                host.kill()
            await host.wait()


def _descendants(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = {int(child) for each in tasks for child in each.read_text().split()}
    return children.union(*map(_descendants, children))


async def _ended(processes: Iterable[int]) -> None:
    """Wait until each process, given by a descriptor of it, has ended."""
    loop = asyncio.get_running_loop()
    for process in processes:
        ended = asyncio.Event()
        loop.add_reader(process, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(process)


async def _host(sandbox: Sandbox) -> None:
    async def tell() -> None:
        sys.stdout.write("running\n")
        sys.stdout.flush()

    repl = await Opener(sandbox)(tell=tell)
    await repl.execute("tell()\nwhile True: pass")


def main(file: str, suite: str) -> None:
    """Run a cell without end in the sandbox that the suite of a test module makes."""
    spec = importlib.util.spec_from_file_location("hosted_suite", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["hosted_suite"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    asyncio.run(_host(attrgetter(suite)(module).make(Limits(), "1g")))


if __name__ == "__main__":
    main(*sys.argv[1:])
