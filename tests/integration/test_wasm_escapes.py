"""Ways out of a WASM sandbox, tried: by JavaScript with all its powers, which Deno must refuse, and by a cell."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlm.core.interfaces import Repl
from rlm.repl.wasm import deno_runtime
from rlm.testing.openers import shown
from tests.support.required import needs
from tests.support.wasm import opened

pytestmark = needs("wasm")

ATTACK = Path(__file__).with_name("wasm_attack.mjs")
NAMES = re.findall(r"^  (\w+): (?:async )?\(\)", ATTACK.read_text(encoding="utf-8"), re.MULTILINE)
TO_JAVASCRIPT = "import time\ndoor = next(c.cell_contents for c in time.sleep.__closure__)\n"
"""What the guest half itself holds of JavaScript."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server of the host that nobody may reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


def attacked(folder: Path, port: int) -> dict[str, str]:
    """What became of each attempt of the attack, started as a sandbox is."""
    canary = folder / "canary"
    canary.write_text("secret", encoding="utf-8")
    settings = {"canary": str(canary), "port": port, "folder": str(folder)}
    task = deno_runtime.DenoTask(script=str(ATTACK), settings=settings, readable=(), memory_bytes=1 << 30)
    with (folder / "said").open("wb") as said:
        streams = deno_runtime.Streams(stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.PIPE)
        process = deno_runtime.start(deno_runtime.find(), task, streams)
        _, lines = process.communicate(timeout=60)
    assert canary.read_text(encoding="utf-8") == "secret"
    return dict(re.findall(r"^(\w+): (refused|GOT OUT)$", lines.decode(), re.MULTILINE))


def test_deno_refuses_every_way_out(tmp_path: Path, listener: socket.socket) -> None:
    outcomes = attacked(tmp_path, listener.getsockname()[1])
    assert {name: outcomes.get(name) for name in NAMES} == dict.fromkeys(NAMES, "refused")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "said"]


def test_the_attack_gets_out_where_all_is_allowed(tmp_path: Path) -> None:
    """Else it would show nothing."""
    (tmp_path / "canary").write_text("secret", encoding="utf-8")
    settings = json.dumps({"canary": str(tmp_path / "canary"), "port": 9, "folder": str(tmp_path)})
    command = [deno_runtime.find().binary, "run", "--allow-all", "--no-remote", "--no-npm", str(ATTACK), settings]
    environ = {"HOME": str(tmp_path), "DENO_DIR": str(tmp_path / "deno")}
    said = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True).stderr
    for name in ("readFile", "writeFile", "run", "environment", "evaluate", "workerReads", "nodeFs", "nodeRun"):
        assert f"{name}: GOT OUT" in said


async def tried(repl: Repl, code: str) -> str:
    """The kind of the error that a cell ended with."""
    result = await repl.execute(code)
    assert result.error is not None, result
    return result.error.kind


async def test_the_doors_to_javascript_are_shut() -> None:
    async with opened() as repl:
        for door in ("import js", "from js import Deno", "from pyodide_js import loadPackage"):
            assert await tried(repl, door) == "ModuleNotFoundError"
        for code in ("pyodide.code\npyodide.code.run_js('1')", "pyodide.http\npyodide.http.open_url('a')"):
            assert await tried(repl, f"import {code}") in ("ModuleNotFoundError", "NameError")


async def test_no_javascript_can_be_made_from_text() -> None:
    async with opened() as repl:
        assert await tried(repl, TO_JAVASCRIPT + "door.constructor('return 1')()") == "JsException"
        assert await tried(repl, "door.constructor.constructor('return globalThis')()") == "JsException"
        result = await repl.execute("import ctypes\nctypes.pythonapi.emscripten_run_script(b'1')")
        assert result.status in ("error", "killed")


async def test_a_cell_reads_nothing_of_the_host(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret", encoding="utf-8")
    async with opened() as repl:
        for path in (canary, "/etc/passwd", "/proc/self/environ", "/proc/1/cmdline"):
            assert await tried(repl, f"open({str(path)!r}).read()") == "FileNotFoundError"
        assert shown(await repl.execute("import os\ndict(os.environ)")) == "{}"
        await repl.execute(f"os.makedirs({str(tmp_path)!r}, exist_ok=True)\nopen({str(canary)!r}, 'w').write('x')")
    assert canary.read_text(encoding="utf-8") == "secret"


async def test_a_cell_reaches_no_network(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    async with opened() as repl:
        await repl.execute("import socket, urllib.request")
        assert await tried(repl, f"socket.create_connection(('127.0.0.1', {port}), 1).sendall(b'x')") != ""
        assert await tried(repl, f"urllib.request.urlopen('http://127.0.0.1:{port}')") != ""


@pytest.mark.parametrize("code", ["import os\nos.fork()", "import subprocess\nsubprocess.run(['true'])"])
async def test_a_cell_starts_no_process(code: str) -> None:
    async with opened() as repl:
        assert await tried(repl, code) in ("OSError", "AttributeError", "BlockingIOError")


async def test_random_numbers_differ_between_sandboxes() -> None:
    code = "import random, os, uuid\nrandom.random(), os.urandom(8), uuid.uuid4()"
    async with opened() as first, opened() as second:
        assert shown(await first.execute(code)) != shown(await second.execute(code))


async def test_frames_may_be_forged_and_end_the_sandbox() -> None:
    async with opened() as repl:
        result = await repl.execute("import os\nos.write(4, b'\\xff' * 100)")
        assert result.status == "killed"
        assert result.error is not None
        assert "REPLSecurityError" in result.error.message
        assert shown(await repl.execute("1")) == "1"


async def test_the_process_has_the_limits_that_were_set() -> None:
    async with opened(memory="256m") as repl:
        await repl.execute("x = 1")
        (pid,) = deno_children()
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
        assert re.search(r"Max core file size\s+0\s+0", limits)
        assert re.search(r"Max file size\s+0\s+0", limits)
        assert re.search(rf"Max data size\s+{deno_runtime.data_bytes(256 << 20)}\s", limits)


async def test_the_process_has_no_descriptor_of_the_host(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        async with opened("a context") as repl:
            assert shown(await repl.execute("context")) == "'a context'"
            (pid,) = deno_children()
            targets = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    assert [target for target in targets if target.startswith("/") and not target.startswith("/dev/")] == []


def deno_children() -> list[int]:
    """The Deno processes of this one that have a REPL, or wait for one."""
    own = os.getpid()
    children = Path(f"/proc/{own}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text(encoding="ascii").split()]
    return [pid for pid in pids if _program(pid) == "deno"]


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:  # it has just ended
        return ""


@pytest.mark.parametrize("code", ["import os\nos._exit(3)", "import ctypes\nctypes.string_at(-1)"])
async def test_an_end_by_itself_tells_nothing_of_the_host(code: str) -> None:
    async with opened() as repl:
        result = await repl.execute("print('before')\n" + code)
        assert result.status == "killed"
        assert result.output.startswith("before\n")
        assert "file://" not in result.output
        assert str(Path.home()) not in result.output
        assert shown(await repl.execute("1")) == "1"
