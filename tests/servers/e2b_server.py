"""A stand-in for E2B: its REST of sandboxes, and the process service of the daemon in each (Connect RPC as JSON), over
processes of this machine. Written from E2B's SDK and its public `infra`; it confines nothing.

Faults can be put in: latency of every answer, errors of the REST, streams that hang or are cut, sandboxes that end.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import shutil
import signal
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from aiohttp import web

Json: TypeAlias = Any
_ENVELOPE = struct.Struct(">BI")
_LAST = 2
_PIECE_BYTES = 1 << 15
_QUEUED = 64
_STREAM = "application/connect+json"


@dataclass(slots=True, kw_only=True)
class Command:
    """A process that was started in a sandbox."""

    child: asyncio.subprocess.Process
    queues: list[asyncio.Queue[Json]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    async def carry(self) -> None:
        """Tell who follows what it prints, and how it ends."""
        await asyncio.gather(self._pump("stdout"), self._pump("stderr"))
        code = await self.child.wait()
        if self.child.stdin is not None:
            self.child.stdin.close()
        await self._tell({"end": {"exitCode": code, "exited": code >= 0, "status": f"exit status {code}"}})

    async def _pump(self, name: str) -> None:
        stream = getattr(self.child, name)
        while piece := await stream.read(_PIECE_BYTES):
            await self._tell({"data": {name: base64.b64encode(piece).decode()}})

    async def _tell(self, event: Json) -> None:
        for queue in self.queues:
            await queue.put(event)  # a full one holds the process up


@dataclass(slots=True, kw_only=True)
class Machine:
    """A sandbox."""

    id: str
    template: str
    metadata: dict[str, str]
    folder: Path
    ends_at: float = 0.0
    timer: asyncio.TimerHandle | None = None
    commands: dict[int, Command] = field(default_factory=dict)

    def card(self) -> Json:
        """What the REST says of it."""
        now = _moment(time.time())
        sizes = {"cpuCount": 1, "memoryMB": 512, "diskSizeMB": 512}
        names = {"templateID": self.template, "sandboxID": self.id, "clientID": "here", "envdVersion": "0.6.4"}
        times = {"startedAt": now, "endAt": _moment(self.ends_at), "state": "running"}
        return {**names, **sizes, **times, "envdAccessToken": "token", "domain": None, "metadata": self.metadata}


@dataclass(slots=True, kw_only=True)
class E2bServer:
    """The service; its faults may be changed while it runs."""

    url: str = ""
    machines: dict[str, Machine] = field(default_factory=dict)
    key: str = "a key"
    latency_s: float = 0.0
    refuses: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Status and message by what is asked: `create`, `timeout`."""
    without: str = ""
    """The name of a program that machines lack."""
    asked: list[str] = field(default_factory=list)
    created: list[Json] = field(default_factory=list)
    ended: list[Command] = field(default_factory=list)
    inputs: int = 0
    """How many messages of input came."""

    def environment(self) -> dict[str, str]:
        """The variables by which the SDK finds it."""
        return {"E2B_API_URL": self.url, "E2B_SANDBOX_URL": self.url, "E2B_API_KEY": self.key}

    def end(self, machine: Machine) -> None:
        """End a sandbox and all that runs in it."""
        self.machines.pop(machine.id, None)
        self.ended += machine.commands.values()
        if machine.timer is not None:
            machine.timer.cancel()
        for command in machine.commands.values():
            _kill_tree(command.child.pid)
        shutil.rmtree(machine.folder, ignore_errors=True)

    def keep(self, machine: Machine, seconds: float) -> None:
        """Let it live for so long from now."""
        if machine.timer is not None:
            machine.timer.cancel()
        machine.ends_at = time.time() + seconds
        machine.timer = asyncio.get_running_loop().call_later(seconds, self.end, machine)

    # The REST.

    async def sandboxes(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self.latency_s)
        if request.headers.get("X-API-KEY") != self.key:
            return web.json_response({"code": 401, "message": "Invalid API key"}, status=401)
        if request.method == "GET":
            return web.json_response([machine.card() for machine in self.machines.values()])
        if (refused := self._refused("create")) is not None:
            return refused
        said = await request.json()
        self.created.append(said)
        machine = await self.make(said.get("metadata") or {}, said["templateID"], said.get("timeout", 300))
        return web.json_response(machine.card(), status=201)

    async def make(self, metadata: dict[str, str], template: str = "base", timeout_s: float = 300) -> Machine:
        """A new sandbox."""
        folder = Path(tempfile.mkdtemp(prefix="rlm-e2b-"))
        machine = Machine(id=secrets.token_hex(10), template=template, metadata=metadata, folder=folder)
        self.machines[machine.id] = machine
        self.keep(machine, timeout_s)
        return machine

    async def one(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self.latency_s)
        machine = self.machines.get(request.match_info["id"])
        tail = request.match_info.get("tail", "")
        self.asked.append(tail or request.method)
        if machine is None:
            return web.json_response({"code": 404, "message": "no such sandbox"}, status=404)
        if (refused := self._refused(tail)) is not None:
            return refused
        if request.method == "DELETE":
            self.end(machine)
            return web.Response(status=204)
        if tail == "timeout":
            self.keep(machine, (await request.json())["timeout"])
            return web.Response(status=204)
        return web.json_response(machine.card())

    def _refused(self, what: str) -> web.Response | None:
        if what not in self.refuses:
            return None
        status, message = self.refuses[what]
        return web.json_response({"code": status, "message": message}, status=status)

    # The daemon.

    async def health(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=204 if request.headers.get("E2b-Sandbox-Id") in self.machines else 502)

    async def rpc(self, request: web.Request) -> web.StreamResponse:
        machine = self.machines.get(request.headers.get("E2b-Sandbox-Id", ""))
        if machine is None:
            return web.json_response({"message": "The sandbox was not found"}, status=502)
        method = request.match_info["method"]
        if method == "StreamInput":
            return await self._take_input(request, machine)
        await asyncio.sleep(self.latency_s)
        raw = await request.read()
        if method == "Start":
            said = json.loads(raw[_ENVELOPE.size :])
            return await self._follow(request, await self._start(machine, said))
        said = json.loads(raw or b"{}")
        command = machine.commands.get(said.get("process", {}).get("pid", 0))
        if command is None:
            return web.json_response({"code": "not_found", "message": "no such process"}, status=404)
        if method == "SendSignal":
            with suppress(ProcessLookupError):
                command.child.kill()
        if method == "CloseStdin" and command.child.stdin is not None:
            command.child.stdin.close()
        return web.json_response({})

    async def _start(self, machine: Machine, said: Json) -> Command:
        config = said["process"]
        arguments = [each.replace(self.without, "missing-program") if self.without else each for each in config["args"]]
        child = await asyncio.create_subprocess_exec(
            config["cmd"],
            *arguments,
            cwd=machine.folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        command = machine.commands[child.pid] = Command(child=child)
        return command

    async def _follow(self, request: web.Request, command: Command) -> web.StreamResponse:
        """Send its events until it ends; a client that goes leaves it running."""
        answer = web.StreamResponse(headers={"Content-Type": _STREAM})
        await answer.prepare(request)
        queue: asyncio.Queue[Json] = asyncio.Queue(_QUEUED)
        command.queues.append(queue)
        try:
            with suppress(ConnectionError):
                await self._tell_events(answer, command, queue)
        finally:
            command.queues.remove(queue)
        return answer

    async def _tell_events(self, answer: web.StreamResponse, command: Command, queue: asyncio.Queue[Json]) -> None:
        await answer.write(_enveloped({"event": {"start": {"pid": command.child.pid}}}))
        command.task = command.task or asyncio.create_task(command.carry())
        event: Json = {}
        while "end" not in event:
            event = await queue.get()
            await asyncio.sleep(self.latency_s / 2)
            await answer.write(_enveloped({"event": event}))
        await answer.write(_enveloped({}, _LAST))

    async def _take_input(self, request: web.Request, machine: Machine) -> web.StreamResponse:
        stdin: asyncio.StreamWriter | None = None
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                _flag, size = _ENVELOPE.unpack(await request.content.readexactly(_ENVELOPE.size))
                said = json.loads(await request.content.readexactly(size))
                said = said.get("event", said)
                if "start" in said:
                    stdin = machine.commands[said["start"]["process"]["pid"]].child.stdin
                if "data" in said and stdin is not None:
                    self.inputs += 1
                    await asyncio.sleep(self.latency_s / 2)
                    stdin.write(base64.b64decode(said["data"]["input"]["stdin"]))
                    await stdin.drain()
        return web.Response(body=_enveloped({}) + _enveloped({}, _LAST), content_type=_STREAM)


@asynccontextmanager
async def e2b_server(**settings: Any) -> AsyncIterator[E2bServer]:
    """One on a free port of this machine; what it started ends with it."""
    server = E2bServer(**settings)
    app = web.Application(client_max_size=1 << 30)
    for prefix in ("", "/v2"):
        app.router.add_route("*", f"{prefix}/sandboxes", server.sandboxes)
        app.router.add_route("*", f"{prefix}/sandboxes/{{id}}", server.one)
        app.router.add_route("*", f"{prefix}/sandboxes/{{id}}/{{tail}}", server.one)
    app.router.add_post("/process.Process/{method}", server.rpc)
    app.router.add_get("/health", server.health)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        for machine in list(server.machines.values()):
            server.end(machine)
        await asyncio.gather(*(command.task for command in server.ended if command.task is not None))
        await runner.cleanup()


def _enveloped(message: Json, flag: int = 0) -> bytes:
    raw = json.dumps(message).encode()
    return _ENVELOPE.pack(flag, len(raw)) + raw


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _kill_tree(pid: int) -> None:
    children = [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    for child in children:
        _kill_tree(child)
