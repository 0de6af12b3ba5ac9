"""Commands in containers of their own, on a real engine: what goes up, runs, is watched, comes home; what is left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.exceptions import ConfigError, SandboxUnavailableError
from rlm.secrets.masking import masker
from rlm.store.database import Database
from rlm.workspaces import watchdog
from rlm.workspaces.docker import LABEL, DockerMachines
from rlm.workspaces.e2b import E2bMachines
from rlm.workspaces.egress import Upstream, way_out
from rlm.workspaces.notes import WorkspaceStore
from rlm.workspaces.running import run_once
from rlm.workspaces.values import MachinePlan, SandboxCommand
from rlm.workspaces.workspace import Keeping, SandboxWorkspace, new_id, opened
from tests.servers.anthropic_server import anthropic_server, streamed, text, tool_use
from tests.servers.e2b_server import e2b_server
from tests.support.engines import client
from tests.support.required import TEST_IMAGE, needs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.cli import User

pytestmark = needs("docker")


@pytest.fixture
def kept(tmp_path: Path) -> Keeping:
    store = WorkspaceStore(Database(tmp_path / "store.sqlite"), tmp_path / "sandboxes")
    return Keeping(store=store, masker=masker("secrets"))


@pytest.fixture
async def provider() -> AsyncIterator[DockerMachines]:
    made = await DockerMachines.connect()
    yield made
    await made.aclose()


def plan(**settings: Any) -> MachinePlan:
    return MachinePlan(workspace=new_id(), image=TEST_IMAGE, disk_bytes=64 << 20, **settings)


def sh(code: str, **settings: Any) -> SandboxCommand:
    return SandboxCommand(argv=("sh", "-c", code), **settings)


def containers(workspace: str) -> list[Any]:
    with client() as api:
        return list(api.containers(all=True, filters={"label": f"{LABEL}={workspace}"}))


async def test_a_folder_goes_up_and_what_a_command_changed_comes_home(
    tmp_path: Path, provider: DockerMachines, kept: Keeping
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("old\n")
    (folder / "b.txt").write_text("old\n")
    code = "cat; cat a.txt; echo new > a.txt; echo new > b.txt; mkdir -p deep; echo 1 > deep/c; ln -s / evil; exit 3"
    made = plan(ends_with_host=True)
    heard: list[str] = []

    def meanwhile(text: str) -> None:
        heard.append(text)
        (folder / "b.txt").write_text("mine\n")

    done = await run_once(provider, made, kept, folder, sh(code, stdin=b"the prompt; rm -rf $HOME\n"), meanwhile)
    result = done.result
    assert (result.state, result.exit_code, result.success) == ("failed", 3, False)
    assert result.output == "".join(heard) == result.full_output == "the prompt; rm -rf $HOME\nold\n"
    assert (folder / "a.txt").read_text() == "new\n"
    assert (folder / "b.txt").read_text() == "mine\n"
    assert (set(done.downloaded.written), done.downloaded.conflicts) == ({"deep/c", "a.txt"}, ("b.txt",))
    assert done.downloaded.refused == ("./evil",)
    assert done.kept is not None, "what could not come home is not lost"
    assert containers(made.workspace) == []
    note = kept.store.find(made.workspace)
    assert (note.state, note.exit_code, note.is_ended) == ("failed", 3, True)


async def test_a_machine_is_confined_and_its_output_comes_whole_and_once(
    tmp_path: Path, provider: DockerMachines, kept: Keeping
) -> None:
    async with opened(provider, plan(ends_with_host=True, pids=64), kept, None) as workspace:
        confined = (
            "id -u; cat /sys/class/net/*/address | wc -l; grep CapEff /proc/self/status; touch /x; kill 1; echo on"
        )
        result = await workspace.run(sh(confined))
        assert result.output.splitlines()[:3] == ["1000", "1", "CapEff:\t0000000000000000"]
        assert "Read-only file system" in result.output
        assert "\non\n" in result.output, "process 1 belongs to another user"
        size, before = 20_000_000, (tmp_path / "sandboxes" / workspace.note.id / "output.log").stat().st_size
        many = f"import sys\nfor n in range({size // 10}): sys.stdout.write('%09d\\n' % n)"
        result = await workspace.run(SandboxCommand(argv=("python3", "-c", many)))
        assert (result.success, result.output_bytes) == (True, size)
        log = (tmp_path / "sandboxes" / workspace.note.id / "output.log").read_bytes()[before:]
        assert log == b"".join(b"%09d\n" % number for number in range(size // 10))
        with pytest.raises(ConfigError, match="100,000"):
            await workspace.run(sh("cat", stdin=b"x" * 100_001))


async def test_the_watchdog_warns_and_ends_and_no_code_of_a_command_is_taken_for_that(
    provider: DockerMachines, kept: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_GRACE_S", 1.0)
    async with opened(provider, plan(ends_with_host=True), kept, None) as workspace:
        result = await workspace.run(sh("exit 124"))
        assert (result.state, result.exit_code) == ("failed", 124)
        stubborn = "trap '' TERM; echo here; sleep 60 & while :; do wait; sleep 1; done"
        result = await workspace.run(sh(stubborn, timeout_s=3.0))
        assert (result.state, result.exit_code, result.output) == ("timeout", 124, "here\n")
        assert len(result.warnings) == 2
        assert "it is ended in" in result.warnings[0]
        result = await workspace.run(sh("ps -e 2>/dev/null | grep -c sleep; sleep 600 & echo left"))
        assert (result.state, "left" in result.output) == ("completed", True), "what holds the output open is left"
        running = asyncio.create_task(workspace.run(sh("echo begun; sleep 600"), lambda _text: begun.set()))
        begun = asyncio.Event()
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert kept.store.find(workspace.note.id).state == "killed"


async def test_a_machine_that_goes_is_told(provider: DockerMachines, kept: Keeping) -> None:
    workspace = await SandboxWorkspace.create(provider, plan(ends_with_host=True), kept)
    begun = asyncio.Event()
    running = asyncio.create_task(workspace.run(sh("echo begun; sleep 600"), lambda _text: begun.set()))
    await begun.wait()
    with client() as api:
        api.remove_container(workspace.note.machine, force=True)
    result = await running
    assert (result.state, result.exit_code) == ("killed", None)
    assert "its machine is gone" in (result.error or "")
    with pytest.raises(ConfigError, match="is gone; its log is in"):
        await SandboxWorkspace.find(workspace.note.id, provider, kept)


def test_the_commands_keep_a_sandbox_and_bring_its_files_home(user: User) -> None:
    user.write("src/a.txt", "old\n")
    made = user.rlm("sandbox", "create", "--image", TEST_IMAGE, "-u", "src", "--timeout-s", "10m")
    name = made.stdout.strip()
    try:
        done = user.rlm(
            "sandbox", "run", "--in", name, "--", "sh", "-c", "echo ghp_" + "a1B2" * 9 + "; echo new > a.txt"
        )
        assert (done.stdout, done.returncode) == ("[REDACTED_GITHUB_TOKEN]\n", 0), done.stderr
        assert name in user.rlm("sandbox", "list").stdout
        assert "exit code 0" in user.rlm("sandbox", "status", name).stdout
        assert user.rlm("sandbox", "logs", name, "--offset", "10").stdout == "GITHUB_TOKEN]\n"
        archive = user.rlm("sandbox", "checkpoint", "last").stdout.strip()
        assert archive.endswith("checkpoint-1.tar")
        assert json.loads(user.rlm("sandbox", "download", "--json").stdout)["written"] == ["a.txt"]
        assert (user.cwd / "src" / "a.txt").read_text() == "new\n"
        assert json.loads(user.rlm("sandbox", "cost", name, "--json").stdout)[0]["cost_usd"] == 0
    finally:
        assert user.rlm("sandbox", "terminate", name).returncode == 0
    assert user.rlm("sandbox", "list").stdout == ""
    assert "gone" in user.rlm("sandbox", "list", "--all").stdout
    assert containers(name) == []
    assert user.rlm("sandbox", "status", "nope").returncode == 2


def test_nothing_is_left_of_a_host_that_is_killed(user: User, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "rlm",
        "sandbox",
        "run",
        "--image",
        TEST_IMAGE,
        "--",
        "sh",
        "-c",
        "echo begun; sleep 600",
    ]
    host = subprocess.Popen(command, cwd=user.cwd, env={**os.environ, **user.environ}, stdout=subprocess.PIPE)
    assert host.stdout is not None
    assert host.stdout.readline() == b"begun\n"
    name = json.loads(user.rlm("sandbox", "list", "--json").stdout)[0]["id"]
    host.send_signal(signal.SIGKILL)
    host.communicate()
    until = time.monotonic() + 60
    while containers(name) and time.monotonic() < until:
        time.sleep(0.2)
    assert containers(name) == []
    assert "killed" in user.rlm("sandbox", "status", name).stdout


def test_a_script_takes_a_folder_to_a_sandbox_and_back(user: User) -> None:
    user.write("src/a.txt", "old\n")
    script = f"""
from pathlib import Path
from rlm.workspaces import run_in_sandbox

said = []
command = ["sh", "-c", "cat; echo new > a.txt"]
done = run_in_sandbox(command, Path("src"), stdin="hello", image={TEST_IMAGE!r}, on_progress=said.append)
print(done.result.state, said, done.downloaded.written)
"""
    command = [sys.executable, "-c", script]
    environ = {**os.environ, **user.environ}
    done = subprocess.run(command, cwd=user.cwd, env=environ, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("completed ['hello'] ('a.txt',)\n", "")


PROBE = """
import socket, sys

def said(port, request):
    with socket.create_connection(("127.0.0.1", port)) as near:
        near.sendall(request)
        return near.recv(65536).split(b"\\r\\n")[0].decode()

for target in ("example.org:443", "allowed.test:80", "allowed.test:443", "127.0.0.1:443", "localhost:443"):
    print(said(8378, f"CONNECT {target} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode()))
for path in ("/v1/messages", "/v1/messagesX", "/v1/organizations", "/v1/messages/../x", "/v1/messages/%2e%2e/x"):
    head = f"POST {path} HTTP/1.1\\r\\nHost: x\\r\\nx-api-key: mine\\r\\nContent-Length: 2\\r\\n\\r\\n"
    print(said(8377, head.encode() + b"{}"))
try:
    socket.create_connection(("1.1.1.1", 443), timeout=2)
except OSError as error:
    print(type(error).__name__)
"""


async def test_the_way_out_leads_to_what_was_named_and_nowhere_else(
    provider: DockerMachines, kept: Keeping, tmp_path: Path
) -> None:
    async with anthropic_server() as server:
        upstream = Upstream(url=server.base_url, headers={"x-api-key": "the key"}, paths=("/v1/messages",))
        async with way_out(upstream, ("allowed.test", "localhost"), tmp_path / "egress.jsonl") as out:
            made = plan(ends_with_host=True, mounts=(out.mount,), ports=out.ports)
            async with opened(provider, made, kept, None) as workspace:
                probe = SandboxCommand(argv=("python3", "-c", PROBE), environment=out.environment)
                result = await workspace.run(probe)
    assert result.output.splitlines() == [
        "HTTP/1.1 403 this host was not allowed",
        "HTTP/1.1 403 only tunnels to port 443 are made",
        "HTTP/1.1 403 this host has no public address",
        "HTTP/1.1 403 this host was not allowed",
        "HTTP/1.1 403 this host has no public address",
        "HTTP/1.1 200 OK",
        *["HTTP/1.1 403 Forbidden"] * 4,
        "OSError",
    ]
    (received,) = server.requests
    assert received.headers["x-api-key"] == "the key"
    lines = [json.loads(line) for line in (tmp_path / "egress.jsonl").read_text().splitlines()]
    assert [line.get("refused") is None for line in lines] == [False] * 5 + [True] + [False] * 4


@needs("claude")
async def test_claude_works_alone_without_a_network_and_without_the_key(user: User) -> None:
    user.write("src/a.txt", "old\n")
    code = "cat a.txt; env | grep ANTHROPIC_API_KEY; ls /sys/class/net; echo new > a.txt"
    call = tool_use("Bash", {"command": code, "description": "Change it"})
    async with anthropic_server(streamed(call, stop="tool_use"), streamed(text("All done."))) as server:
        environ = {"ANTHROPIC_BASE_URL": server.base_url, "ANTHROPIC_API_KEY": "sk-ant-the-real-one"}
        words = ("sandbox", "run", "Change a.txt", "--agent", "claude", "--image", TEST_IMAGE, "-u", "src", "--json")
        done = await asyncio.to_thread(
            user.process, *words, "--allow-host", "example.org", "--timeout-s", "2m", **environ, PATH=os.environ["PATH"]
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["output"], said["downloaded"]["written"]) == ("All done.\n", ["a.txt"])
    assert (user.cwd / "src" / "a.txt").read_text() == "new\n"
    assert {request.headers["x-api-key"] for request in server.requests} == {"sk-ant-the-real-one"}
    (result,) = server.requests[-1].body["messages"][-1]["content"]
    assert result["content"] == "old\nANTHROPIC_API_KEY=stays-on-the-host\nlo"
    assert "Change a.txt" in json.dumps(server.requests[0].body)


async def test_a_machine_of_e2b_does_the_same_over_a_line_that_is_slow(
    tmp_path: Path, kept: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_GRACE_S", 1.0)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("old\n")
    async with e2b_server(latency_s=0.02) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        made, provider = replace(plan(), ends_with_host=True), E2bMachines(None)
        async with opened(provider, made, kept, folder) as workspace:
            (machine,) = server.machines.values()
            many = "cat; i=0; while [ $i -lt 20000 ]; do echo line $i ä; i=$((i+1)); done; echo new > a.txt; exit 124"
            result = await workspace.run(sh(many, stdin=b"the prompt\n"))
            assert (result.state, result.exit_code) == ("failed", 124)
            lines = "".join(f"line {number} ä\n" for number in range(20_000))
            assert result.full_output == f"the prompt\n{lines}", "each byte once, none lost, whatever the latency"
            assert (await workspace.download()).written == ("a.txt",)
            result = await workspace.run(sh("echo begun; trap '' TERM; while :; do sleep 1; done", timeout_s=2.0))
            assert (result.state, result.output) == ("timeout", "begun\n")
            assert (await provider.find(workspace.note.machine)) is not None
            running = asyncio.create_task(workspace.run(sh("echo begun; sleep 60"), lambda _text: begun.set()))
            begun = asyncio.Event()
            await begun.wait()
            server.end(machine)
            result = await running
            assert (result.state, result.exit_code) == ("killed", None)
        assert server.machines == {}
        assert await provider.find(workspace.note.machine) is None
        with pytest.raises(SandboxUnavailableError, match="--provider docker"):
            await provider.make(replace(made, ports={1: "x"}))
        await provider.aclose()
