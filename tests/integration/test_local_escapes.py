"""What the kernel answers to guest code of the local sandbox, without any policy: refusals, not mere failures.

What attacks may come of, with canaries on the host, is in `test_attacks.py`, over every sandbox.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from rlm.core.config import LocalConfig
from rlm.core.contexts.context import Context
from rlm.core.interfaces import Repl
from rlm.core.types import ExecResult, ReplSpec
from rlm.repl.local.launcher import LOCAL
from rlm.repl.sandbox import HostedSandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSED = {"PermissionError", "OSError", "FileNotFoundError", "ProcessLookupError"}


async def no_call(*_: object) -> None:
    raise AssertionError("nothing is bound")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[HostedSandbox]:
    running = LOCAL.sandbox(LocalConfig(policy="off"))
    yield running
    await running.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def repl(sandbox: HostedSandbox) -> AsyncIterator[Repl]:
    opened = await sandbox.open(Context.empty(), ReplSpec(call=no_call))
    yield opened
    await opened.aclose()


SYSCALL = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\ndef call(*a):\n    if libc.syscall(*a) < 0:\n"
SYSCALL += "        raise OSError(ctypes.get_errno(), 'refused')\n"


@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/passwd').read()",
        "open('/proc/self/environ').read()",
        "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb')",
        "import os\nopen(f'/proc/{os.getppid()}/environ', 'rb').read()",
        "import os\nos.listdir('/')",
        "import os\nos.listdir('/tmp')",
        "open('/tmp/escaped', 'w')",
        "open('/dev/shm/escaped', 'w')",
        "import os\nos.mkdir('/tmp/escaped')",
        "import os\nos.unlink('/etc/passwd')",
        "import os\nos.chmod('/tmp', 0)",
        "import os\nos.symlink('/etc', '/tmp/escaped')",
        "import os\nos.truncate(os.__file__, 0)",
        "import os\nos.chdir('/tmp')",
        "import socket\nsocket.socket()",
        "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0abstract')",
        "import socket\nsocket.create_connection(('127.0.0.1', 22), 1)",
        "import socket\nsocket.socketpair()",
        "import socket\nsocket.socket(40, socket.SOCK_STREAM)",
        "import os\nos.fork()",
        "import os\nos.execv('/bin/sh', ['sh', '-c', 'true'])",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.system('true') and open('/nonexistent')",
        "import os, signal\nos.kill(os.getppid(), signal.SIGTERM)",
        "import os\nos.kill(os.getppid(), 0)",
        "import os\nos.kill(-1, 9)",
        "import os\nos.memfd_create('m')",
        "import os\nos.pidfd_open(os.getppid())",
        "import os\nos.setuid(0) or os.seteuid(0)",
        "import os\nos.setpriority(0, 0, -5)",
        "import resource\nresource.prlimit(__import__('os').getppid(), resource.RLIMIT_CPU, (1, 1))",
        "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, 8, os.getppid())",  # F_SETOWN
        "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, 10, 9)",  # F_SETSIG
        "import fcntl\nfcntl.ioctl(0, 0x5412, b'x')",  # TIOCSTI
        SYSCALL + "call(272, 0x10000000)",  # unshare
        SYSCALL + "call(101, 16, __import__('os').getppid(), 0, 0)",  # ptrace attach
        SYSCALL + "call(310, __import__('os').getppid(), 0, 0, 0, 0, 0)",  # process_vm_readv
        SYSCALL + "call(157, 4, 1, 0, 0, 0)",  # prctl: dumpable again
        SYSCALL + "call(425, 8, 0)",  # io_uring_setup
        SYSCALL + "call(321, 0, 0, 0)",  # bpf
        SYSCALL + "call(165, 0, 0, 0, 0, 0)",  # mount
        SYSCALL + "call(56, 0x10000011, 0, 0, 0, 0)",  # clone with a new user namespace
        SYSCALL + "call(435, 0, 0)",  # clone3
        SYSCALL + "call(438, 0, 0, 0)",  # pidfd_getfd
    ],
    ids=lambda code: code.replace(SYSCALL, "").replace("\n", "; ")[-50:],
)
async def test_the_way_out_is_closed(repl: Repl, code: str) -> None:
    result = await repl.execute(code)
    assert result.error is not None, result.output
    assert result.error.kind in REFUSED, result.error
    assert not result.state_reset


async def test_a_foreign_calling_convention_kills(repl: Repl) -> None:
    x32 = await repl.execute(SYSCALL + f"call({0x40000000 + 39})")
    assert (x32.status, x32.state_reset) == ("killed", True)


async def test_the_environment_is_empty(repl: Repl) -> None:
    assert (await repl.execute("import os\ndict(os.environ)")).output == "{}\n"


async def test_the_identity_has_no_power(repl: Repl) -> None:
    code = "import ctypes\nh = (ctypes.c_uint32 * 2)(0x20080522, 0)\nd = (ctypes.c_uint32 * 6)()\n"
    result = await repl.execute(code + "ctypes.CDLL(None).capget(h, d), list(d)")
    assert result.output == "(-1, [0, 0, 0, 0, 0, 0])\n"  # even asking is refused


async def test_only_its_own_descriptors_are_open(repl: Repl) -> None:
    code = "import os\ndef is_open(fd):\n    try:\n        os.fstat(fd)\n    except OSError:\n        return False\n"
    result = await repl.execute(code + "    return True\nsum(map(is_open, range(64)))")
    assert result.output == "5\n"  # null, output twice and kept, frames


async def test_nothing_that_is_open_is_shared_with_other_guests(sandbox: HostedSandbox, repl: Repl) -> None:
    other = await sandbox.open(Context.empty(), ReplSpec(call=no_call))
    try:
        await other.execute("import fcntl, os\nfcntl.fcntl(0, fcntl.F_SETFL, os.O_APPEND)")
        assert (await repl.execute("import fcntl, os\nfcntl.fcntl(0, fcntl.F_GETFL) & os.O_APPEND")).output == "0\n"
    finally:
        await other.aclose()


async def test_the_number_of_threads_is_bounded_by_the_kernel_too(repl: Repl) -> None:
    result = await repl.execute("import resource\nresource.getrlimit(resource.RLIMIT_NPROC)[0]")
    assert repl.report["namespaces"].startswith("missing") or result.output == "4096\n"  # type: ignore[attr-defined]


async def killed(repl: Repl, code: str) -> ExecResult:
    result = await repl.execute(code)
    assert (result.status, result.state_reset) == ("killed", True), result
    assert (await repl.execute("1 + 1")).output == "2\n"
    return result


async def test_a_guest_that_ends_itself_is_replaced(repl: Repl) -> None:
    result = await killed(repl, "import os\nprint('last words')\nos._exit(0)")
    assert result.output == "last words\n"
    assert result.error is not None
    assert "ended by itself" in result.error.message


async def test_a_crash_is_survived(repl: Repl) -> None:
    await killed(repl, "import ctypes\nctypes.string_at(0)")


async def test_closing_the_frames_ends_the_guest(repl: Repl) -> None:
    await killed(repl, "import os\nos.closerange(3, 64)\nwhile True: pass")


async def test_closing_the_output_ends_nothing(repl: Repl) -> None:
    result = await repl.execute("import os, sys\nprint('a')\nsys.stdout.close()\nos.close(1)\nos.close(2)")
    assert (result.status, result.output) == ("ok", "a\n")
    assert (await repl.execute("print('b')")).output == "b\n"


async def test_the_output_of_a_replaced_stream_is_not_lost_for_later_cells(repl: Repl) -> None:
    await repl.execute("import sys, io\nsys.stdout = io.StringIO()")
    assert (await repl.execute("print('b')")).output == "b\n"
