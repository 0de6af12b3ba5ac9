"""What holds a container's guest, how contexts get there, other engines, and what is said where it can't start."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlm.core.exceptions import SandboxUnavailableError
from rlm.core.types import ReplSpec
from rlm.repl.docker import containers
from rlm.repl.live import Limits
from rlm.runtime.inputs import prepare
from tests.integration.cli import User
from tests.support.engines import SPEC, Proxy, client, no_call, parsed, sandbox
from tests.support.required import TEST_IMAGE, needs

pytestmark = needs("docker")

CALLS = {
    "ptrace": 101, "mount": 165, "keyctl": 250, "add_key": 248, "unshare": 272, "setns": 308, "bpf": 321,
    "userfaultfd": 323, "io_uring_setup": 425, "pidfd_getfd": 438, "process_vm_writev": 311, "perf_event_open": 298,
    "open_by_handle_at": 304, "init_module": 175, "kexec_load": 246, "reboot": 169, "chroot": 161, "mknod": 133,
}  # fmt: skip
"""Of x86-64."""


async def printed(running: Any, code: str, context: Any = None) -> str:
    repl = await running.open(prepare(context), SPEC)
    result = await repl.execute(code)
    assert result.status == "ok", result
    return str(result.output)


async def test_no_socket_of_any_family_can_be_made() -> None:
    code = "import json, socket\nmade = []\nfor family in range(64):\n    for kind in (1, 2, 3, 5):\n        try:\n"
    code += "            made.append(socket.socket(family, kind))\n        except PermissionError:\n            pass\n"
    code += (
        "try:\n    made.append(socket.socketpair())\nexcept PermissionError:\n    pass\nprint(json.dumps(len(made)))"
    )
    async with sandbox() as running:
        assert parsed(await printed(running, code)) == 0


@needs("x86-64")  # the numbers are of its system calls
async def test_dangerous_system_calls_are_denied() -> None:
    code = (
        f"import ctypes, json\nlibc = ctypes.CDLL(None, use_errno=True)\nfound = {{}}\nfor n, i in {CALLS!r}.items():\n"
    )
    code += (
        "    r = libc.syscall(i, 0, 0, 0, 0, 0, 0)\n    found[n] = (r, ctypes.get_errno())\nprint(json.dumps(found))"
    )
    async with sandbox() as running:
        found = parsed(await printed(running, code))
    assert found == {name: [-1, 1] for name in CALLS}


async def test_a_user_namespace_cannot_be_made() -> None:
    code = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nr = libc.clone\n"
    code += "print(libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0), ctypes.get_errno())"
    async with sandbox() as running:
        assert await printed(running, code) == "-1 1\n"


async def test_the_guest_is_nobody_with_nothing() -> None:
    code = "import json, os\nstatus = dict(l.split(':\\t', 1) for l in open('/proc/self/status').read().splitlines())\n"
    code += "print(json.dumps([os.getuid(), os.getgid(), os.getgroups(), *(status[k].strip() for k in "
    code += "('CapEff', 'CapPrm', 'CapBnd', 'NoNewPrivs', 'Seccomp'))]))"
    async with sandbox() as running:
        uid, gid, groups, effective, permitted, bounding, privileges, seccomp = parsed(await printed(running, code))
    assert (uid, gid, set(groups) - {65534}) == (65534, 65534, set())
    assert (int(effective, 16), int(permitted, 16), int(bounding, 16)) == (0, 0, 0)
    assert (privileges, seccomp) == ("1", "2")


async def test_only_tmp_can_be_written_and_a_full_one_is_an_error_of_the_cell() -> None:
    code = "import os\nprint([d for d in ('/', '/etc', '/usr', '/rlm', '/dev', '/var/tmp', '/tmp') if os.access(d, 2)])"
    async with sandbox(tmp="4m") as running:
        repl = await running.open(prepare(None), SPEC)
        assert (await repl.execute(code)).output == "['/tmp']\n"
        full = await repl.execute("kept = 1\nopen('/tmp/large', 'wb').write(bytes(8 << 20))")
        assert full.error is not None
        assert "No space left" in full.error.message
        assert (await repl.execute("kept")).output == "1\n"


async def test_process_1_is_out_of_reach() -> None:
    code = "import os\nfor path in ('/proc/1/fd', '/proc/1/mem', '/proc/1/environ', '/proc/1/root/etc'):\n"
    code += "    try:\n        os.listdir(path) if path.endswith(('fd', 'etc')) else open(path, 'rb')\n"
    code += "        print('reached', path)\n    except PermissionError:\n        pass\n"
    code += "os.kill(1, 9)\nos.kill(1, 19)\nos.kill(1, 2)\nprint('alive')"
    async with sandbox() as running:
        assert await printed(running, code) == "alive\n"


async def test_the_environment_of_the_host_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_KEY", "sk-canary")
    monkeypatch.setenv("HTTP_PROXY", "")
    code = "import os\nprint('canary' in str(os.environ).lower(), open('/etc/resolv.conf').read().split())"
    async with sandbox() as running:
        assert await printed(running, code) == "False []\n"


async def test_a_bomb_of_processes_ends_at_the_limit() -> None:
    code = "import os, time\nmade = 0\ntry:\n    while True:\n        if not os.fork():\n            time.sleep(60)\n"
    code += "        made += 1\nexcept OSError:\n    print(0 < made < 32)"
    async with sandbox(pids=32) as running:
        assert await printed(running, code) == "True\n"


async def test_children_share_one_file_of_the_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    context = prepare("shared " * 100_000)
    async with sandbox() as running:
        first, second = await running.open(context, SPEC), await running.open(context, SPEC)
        files = [path.stat() for path in tmp_path.glob("rlm-docker-*/*/context")]
        assert (len(files), {file.st_nlink for file in files}) == (2, {3})
        await first.aclose()
        await second.aclose()
        assert [path for path in tmp_path.glob("rlm-docker-*/*") if path.exists()] == []


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine on whose machine the same path leads to other files, and whose control groups are not seen here."""
    other = tmp_path / "other"
    other.mkdir()
    original = containers._mounts
    monkeypatch.setattr(containers, "_mounts", lambda folder: original(folder and other))
    monkeypatch.setattr(containers, "group_file", lambda _pid, _container: None)


@pytest.mark.usefixtures("elsewhere")
async def test_an_engine_that_sees_other_files_gets_the_context_streamed() -> None:
    async with sandbox() as running:
        text = "żółć " * 1_000_000
        assert await printed(running, "len(context), context[-5:]", text) == f"({len(text)}, 'żółć ')\n"
        assert await printed(running, "context", {"a": [1]}) == "{'a': [1]}\n"


@pytest.mark.usefixtures("elsewhere")
async def test_cpu_time_is_asked_of_an_engine_elsewhere() -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    code = "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin).start()\nnever()"
    async with sandbox(limits=Limits(cell_timeout_s=1.0)) as running:
        repl = await running.open(prepare(None), ReplSpec(call=never, functions=("never",)))
        result = await repl.execute(code)
    assert result.error is not None
    assert "CPU" in result.error.message


async def test_an_engine_behind_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Proxy() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        async with sandbox() as running:
            assert await printed(running, "len(context)", "x" * 3_000_000) == "3000000\n"


@pytest.fixture
def empty_image() -> Iterator[str]:
    """An image in which there is nothing at all."""
    archive = io.BytesIO()
    tarfile.open(fileobj=archive, mode="w").close()
    with client() as api:
        api.import_image_from_data(archive.getvalue(), repository="rlm-test-empty", tag="1")
        yield "rlm-test-empty:1"
        api.remove_image("rlm-test-empty:1")


async def test_an_image_without_python_is_named(empty_image: str) -> None:
    async with sandbox(image=empty_image) as running:
        with pytest.raises(SandboxUnavailableError, match=r"no python3 in its PATH\n.*3\.11"):
            await running.start()


@pytest.fixture
def meddling_image() -> Iterator[str]:
    """An image whose variables would have its Python look elsewhere and order sets in its own way."""
    variables = {"PYTHONHOME": "/nowhere", "PYTHONPATH": "/tmp", "PYTHONHASHSEED": "5", "OWN": "1"}
    with client() as api:
        made = api.create_container(TEST_IMAGE, ["true"], environment=variables)
        api.commit(made, "rlm-test-meddling", "1")
        api.remove_container(made)
        yield "rlm-test-meddling:1"
        api.remove_image("rlm-test-meddling:1")


async def test_the_variables_of_an_image_do_not_reach_its_python(meddling_image: str) -> None:
    code = "import os\nprint(hash('a'), sorted(name for name in os.environ if name.startswith(('PYTHON', 'OWN'))))"
    async with sandbox(image=meddling_image) as meddled, sandbox() as plain:
        expected = await printed(plain, "hash('a')")
        assert await printed(meddled, code) == f"{expected.strip()} ['OWN', 'PYTHONHASHSEED']\n"


async def test_an_image_that_cannot_be_had_is_named() -> None:
    async with sandbox(image="127.0.0.1:9/nothing:1") as running:
        with pytest.raises(SandboxUnavailableError, match=r"cannot be pulled(.|\n)*docker load"):
            await running.start()


async def test_a_runtime_that_the_engine_has_not_is_named() -> None:
    async with sandbox(runtime="nonesuch") as running:
        with pytest.raises(SandboxUnavailableError, match="no runtime 'nonesuch'"):
            await running.start()


async def test_no_engine_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    async with sandbox() as running:
        with pytest.raises(SandboxUnavailableError, match="no Docker engine answers"):
            await running.start()


def test_the_command_line_runs_code_and_models_in_it(user: User) -> None:
    user.write("rlm.toml", f'[docker]\nimage = "{TEST_IMAGE}"\nwarm = 0\n')
    user.write("data.txt", "one\ntwo\n")
    code = "import os\nprint(os.getpid(), os.getuid(), len(context))"
    done = user.rlm("exec", "--env", "docker", "-c", code, "-f", "data.txt")
    assert (done.returncode, done.stdout.split()[1:]) == (0, ["65534", "8"]), done
    ran = user.rlm("run", "how many lines?", "--environment", "docker", "--model", "demo", "-f", "data.txt")
    assert (ran.returncode, "2 lines" in ran.stdout) == (0, True), ran


def test_the_command_line_says_what_is_missing(user: User, tmp_path: Path) -> None:
    done = user.rlm("exec", "--env", "docker", "-c", "1", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert (done.returncode, done.stdout) == (5, "")
    assert "systemctl start docker" in done.stderr


RUNNING = "import os\n[int(pid) for pid in os.listdir('/proc') if pid.isdecimal()] == [1, os.getpid()]"
FORKS = {
    "children that raise": "import os\nwhile True: os.fork()",
    "children that spin on": (
        "import os\nfor _ in range(20):\n    if not os.fork():\n        os.setsid()\n        while True: pass"
    ),
    "children of children": (
        "import os, time\nif not os.fork():\n    if not os.fork():\n        time.sleep(600)\n    os._exit(0)\nos.wait()"
    ),
    "a command": "import subprocess\np = subprocess.Popen(['sleep', '600'])",
    "a shell": "import subprocess\nsubprocess.run('(sleep 600; echo late) & echo early', shell=True)",
    "children that reach the end": "import os\nkept = os.getpid()\nif not os.fork(): print('child')\nelse: os.wait()",
    "children that answer": "import os\nif not os.fork(): FINAL('child')\nos.wait()\nFINAL('own')",
    "children that call": "import os\nif not os.fork(): ask(1)\nos.wait()",
    "children that await": "import os\nif not os.fork(): await ask(1)\nos.wait()",
}


async def test_what_a_cell_forked_ends_with_the_cell() -> None:
    broken: dict[str, Any] = {}
    async with sandbox() as running:
        repl = await running.open(prepare(None), ReplSpec(call=no_call, functions=("ask",)))
        await repl.execute("kept = 1")
        for name, code in FORKS.items():
            result, after = await repl.execute(code), await repl.execute(f"print(kept > 0)\n{RUNNING}")
            if "\x1e" in result.output + after.output or after.output != "True\nTrue\n" or result.state_reset:
                broken[name] = (result, after)
                await repl.execute("kept = 1")
            elif result.final is not None and result.final.value != "own":
                broken[name] = result
    assert broken == {}


async def test_a_fork_bomb_that_never_ends_costs_no_later_cell() -> None:
    code = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
    async with sandbox(Limits(cell_timeout_s=0.5, grace_s=10)) as running:
        repl = await running.open(prepare(None), SPEC)
        assert (await repl.execute(code)).status == "timeout"
        after = await repl.execute(RUNNING, 60)
        assert (after.status, after.output) == ("ok", "True\n")
