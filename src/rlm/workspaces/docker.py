"""Workspaces in containers of a Docker engine: hardened as the REPLs' are, with a writable folder in memory.

Process 1 sleeps for as long as the machine may live, as a user of its own, so that no command can end it, and what is
in the container goes with it. A machine that ends with its host has an owner's labels and a watchdog, like a REPL's.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from rlm.core.exceptions import REPLError, SandboxUnavailableError
from rlm.repl.docker import images
from rlm.repl.docker.engines import DockerEngine, Refused
from rlm.repl.docker.hardening import hardened, no_network, require_limits
from rlm.repl.docker.sweeping import Estate, remove, sweep_containers
from rlm.workspaces.exec_stream import ExecStream
from rlm.workspaces.provider import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rlm.repl.docker.images import DockerImage
    from rlm.workspaces.values import MachinePlan, SandboxCommand

LABEL = "rlm.workspace"
_USER, _KEEPER = "1000:1000", "65534:65534"
_HOME = "/home/agent"
_TMP_BYTES = 512 << 20
_KEEPS = 'trap "exit 0" TERM; sleep "$1" & wait "$!"'
_LATER_S = 300
"""For how long after its time a machine may still be looked at, so that what is there can be brought home."""
_LOOK_S = 1.0
_LAST_WORDS_S = 2.0
"""For how long a command's output is waited for after its end: something that it left behind may hold it open."""
_LEFT_S = 10.0
_BLOCK_BYTES = 1 << 20
_NOT_FOUND, _CONFLICT = 404, 409
_READY = b"ready"
_FORWARDS_S = 20.0
_FORWARD = (
    'if command -v python3 >/dev/null; then exec python3 -I -c "$1" "$3"; '
    'elif command -v node >/dev/null; then exec node -e "$2" "$3"; fi; exit 127'
)
_FORWARD_PYTHON = """
import json, socket, sys, threading
def pump(a, b):
    try:
        while piece := a.recv(65536):
            b.sendall(piece)
        b.shutdown(1)
    except OSError:
        for each in (a, b):
            try: each.shutdown(2)
            except OSError: pass
def serve(listening, path):
    while True:
        near, far = listening.accept()[0], socket.socket(socket.AF_UNIX)
        try: far.connect(path)
        except OSError: near.close(); continue
        for pair in ((near, far), (far, near)):
            threading.Thread(target=pump, args=pair, daemon=True).start()
for port, path in json.loads(sys.argv[1]).items():
    listening = socket.create_server(("127.0.0.1", int(port)))
    threading.Thread(target=serve, args=(listening, path)).start()
print("ready", flush=True)
"""
_FORWARD_NODE = """
const net = require('net'), ports = Object.entries(JSON.parse(process.argv[1]));
let left = ports.length;
for (const [port, path] of ports) net.createServer({allowHalfOpen: true}, near => {
  const far = net.connect({path, allowHalfOpen: true});
  for (const [a, b] of [[near, far], [far, near]]) { a.pipe(b); a.on('error', () => b.destroy()); }
}).listen(Number(port), '127.0.0.1', () => { if (--left === 0) console.log('ready'); });
"""
_TAR = "the image needs tar and sh, as Debian's, Alpine's and most others have"


class DockerMachines:
    """Implements `Provider`."""

    name = "docker"

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self._estate: Estate | None = None
        self._owned: list[DockerMachine] = []

    @classmethod
    async def connect(cls) -> DockerMachines:
        """Reach the engine, and remove what dead hosts left there. Raises:
        SandboxUnavailableError: there is none, or it does not let this user in.
        """
        engine = await DockerEngine.connect()
        try:
            await engine.ask(sweep_containers)
        except BaseException:
            await engine.aclose()
            raise
        return cls(engine)

    async def make(self, plan: MachinePlan) -> DockerMachine:
        image = await images.find(self._engine, plan.image)
        labels = {LABEL: plan.workspace}
        if plan.ends_with_host:
            self._estate = self._estate or await Estate.found()
            labels |= self._estate.owner.labels
        try:
            answer = await self._engine.ask(partial(_create, plan=plan, image=image, labels=labels))
        except Refused as e:
            blind = "\nan agent and --allow-host need an engine on this machine" if "bind source" in str(e) else ""
            raise SandboxUnavailableError(f"the engine refuses the container: {e}{blind}") from e
        machine = DockerMachine(self._engine, answer["Id"])
        if plan.ends_with_host:
            self._owned.append(machine)
        try:
            require_limits(answer)
            await self._engine.ask(lambda client: client.start(machine.id))
        except Refused as e:
            await machine.end()
            raise SandboxUnavailableError(f"the container does not start: {e}\n{_TAR}") from e
        except BaseException:
            await machine.end()
            raise
        return machine

    async def find(self, machine: str) -> DockerMachine | None:
        try:
            found = await self._engine.ask(lambda client: client.inspect_container(machine))
        except Refused as e:
            if e.status == _NOT_FOUND:
                return None
            raise SandboxUnavailableError(f"the engine does not say what became of {machine[:12]}: {e}") from e
        is_ours = LABEL in (found["Config"].get("Labels") or {})
        return DockerMachine(self._engine, found["Id"]) if is_ours and found["State"]["Running"] else None

    async def aclose(self) -> None:
        if self._estate is not None:
            left_nothing = self._engine.is_quiet and all(machine.is_ended for machine in self._owned)
            await asyncio.to_thread(self._estate.leave, has_left_nothing=left_nothing)
        await self._engine.aclose()


class DockerMachine:
    """Implements `Machine`."""

    def __init__(self, engine: DockerEngine, container: str) -> None:
        self.id = container
        self.is_ended = False
        self._engine = engine
        self._forwarding: asyncio.Task[int] | None = None

    async def run(self, command: SandboxCommand, heard: Callable[[bytes], None]) -> int:
        return await self._executed(
            command.argv, lambda _is_stdout, piece: heard(piece), stdin=command.stdin, environment=command.environment
        )

    async def signal(self, *, kill: bool) -> None:
        name = "KILL" if kill else "TERM"
        await self._executed(("sh", "-c", f"kill -{name} -1"), lambda _is_stdout, _piece: None)

    async def forward(self, ports: Mapping[int, str]) -> None:
        ready, argv = asyncio.Event(), ("sh", "-c", _FORWARD, "rlm", _FORWARD_PYTHON, _FORWARD_NODE, json.dumps(ports))

        def heard(_is_stdout: bool, piece: bytes) -> None:
            if _READY in piece:
                ready.set()

        self._forwarding = asyncio.create_task(self._executed(argv, heard, user=_KEEPER))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait([self._forwarding, waiting], timeout=_FORWARDS_S, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not ready.is_set():
            self._forwarding.cancel()
            raise SandboxUnavailableError("the image needs python3 or node, by which what leads out is reached")

    async def put(self, archive: Path) -> None:
        said = bytearray()
        code = await self._executed(
            ("tar", "-xz", "-C", FOLDER, "-f", "-"), lambda _is_stdout, piece: said.extend(piece), stdin=archive
        )
        if code:
            words = said.decode("utf-8", "replace").strip()[-500:]
            raise SandboxUnavailableError(f"the folder can't be unpacked there: {words or f'exit code {code}'}\n{_TAR}")

    async def get(self, into: BinaryIO, most_bytes: int) -> None:
        said, size = bytearray(), 0

        def take(is_stdout: bool, piece: bytes) -> None:
            nonlocal size
            if not is_stdout:
                said.extend(piece[: 1000 - len(said)])
            elif size <= most_bytes:
                size += len(piece)
                into.write(piece[: most_bytes - (size - len(piece))])

        code = await self._executed(("tar", "-c", "-C", FOLDER, "-f", "-", "."), take)
        if size > most_bytes:
            raise SandboxUnavailableError(
                f"the workspace is larger than {most_bytes:,} bytes: remove what isn't wanted"
            )
        if code > 1:  # 1: a file changed while it was read
            words = said.decode("utf-8", "replace").strip()[-500:]
            raise SandboxUnavailableError(f"the folder can't be read there: {words or f'exit code {code}'}\n{_TAR}")

    async def end(self) -> None:
        if self._forwarding is not None:
            self._forwarding.cancel()
            await asyncio.wait([self._forwarding])
        await self._engine.ask(partial(remove, container=self.id))
        self.is_ended = True

    async def _executed(
        self,
        argv: Sequence[str],
        heard: Callable[[bool, bytes], None],
        *,
        stdin: bytes | Path = b"",
        environment: Mapping[str, str] | None = None,
        user: str = _USER,
    ) -> int:
        """Run a process to its end, and return its exit code."""
        given = {"HOME": _HOME, "TERM": "dumb", **(environment or {})}
        try:
            made = await self._engine.ask(
                lambda client: client.exec_create(
                    self.id, list(argv), stdin=True, environment=given, workdir=FOLDER, user=user
                )
            )
        except Refused as e:
            raise SandboxUnavailableError(_gone(e)) from e
        stream = await self._engine.open_stream(lambda: ExecStream(heard))
        try:
            try:
                await stream.begin(made["Id"])
            except REPLError as e:
                raise SandboxUnavailableError(f"the command does not start: {e}") from e
            sending = asyncio.create_task(_send(stream, stdin))
            try:
                return await self._code_of(made["Id"], stream)
            finally:
                sending.cancel()
                await asyncio.wait([sending])
        finally:
            stream.close()

    async def _code_of(self, process: str, stream: ExecStream) -> int:
        """The exit code of a process, whose output has been heard to its end, or for a while after its own."""
        while True:
            with_end = asyncio.ensure_future(stream.ended.wait())
            await asyncio.wait([with_end], timeout=_LOOK_S)
            with_end.cancel()
            try:
                state = await self._engine.ask(lambda client: client.exec_inspect(process))
            except Refused as e:
                raise SandboxUnavailableError(_gone(e)) from e
            if not state["Running"] and state["ExitCode"] is not None:
                if not stream.ended.is_set():
                    await asyncio.wait([asyncio.ensure_future(stream.ended.wait())], timeout=_LAST_WORDS_S)
                return int(state["ExitCode"])
            if stream.ended.is_set():
                await asyncio.sleep(_LOOK_S / 10)


async def _send(stream: ExecStream, stdin: bytes | Path) -> None:
    if isinstance(stdin, bytes):
        await stream.write(stdin)
    else:
        with await asyncio.to_thread(stdin.open, "rb") as file:
            while block := await asyncio.to_thread(file.read, _BLOCK_BYTES):
                await stream.write(block)
    stream.end_input()


def _create(client: Any, plan: MachinePlan, image: DockerImage, labels: Mapping[str, str]) -> Any:
    writable = {FOLDER: plan.disk_bytes, _HOME: _TMP_BYTES, "/tmp": _TMP_BYTES}  # noqa: S108 - the container's own
    closed = {volume: "ro,noexec,nosuid,nodev,size=4k" for volume in image.volumes if volume not in writable}
    folders = {path: f"rw,exec,nosuid,nodev,size={size},mode=1777" for path, size in writable.items()}
    memory = plan.memory_bytes + sum(writable.values())
    walls = hardened(memory_bytes=memory, cpus=plan.cpus, pids=plan.pids)
    return client.create_container(
        image.id,
        entrypoint=["sh", "-c", _KEEPS],
        command=["rlm", str(int(plan.limit_s) + _LATER_S)],
        user=_KEEPER,
        working_dir="/",  # the engine would make another one itself, and its owner would be root
        hostname="rlm",
        network_disabled=plan.network == "none",
        labels=dict(labels),
        healthcheck={"test": ["NONE"]},
        host_config=client.create_host_config(
            **walls,
            **(no_network() if plan.network == "none" else {}),
            tmpfs={**closed, **folders},
            mounts=_mounts(plan),
        ),
        use_config_proxy=False,  # its credentials are the host's
    )


def _mounts(plan: MachinePlan) -> list[dict[str, Any]]:
    options = {"Propagation": "private"}
    return [
        {"Type": "bind", "Source": each.source, "Target": each.target, "ReadOnly": True, "BindOptions": options}
        for each in plan.mounts
    ]


def _gone(error: Refused) -> str:
    if error.status in (_NOT_FOUND, _CONFLICT):
        return "its machine is gone: its time was over, or it was ended"
    return f"the engine does not run the command: {error}"
