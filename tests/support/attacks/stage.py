"""The host as attacks find it: secrets, files, processes and listeners that must come through untouched.

Everything an attack could harm on purpose is here and made for it, so that a corpus run over a sandbox that holds
nothing harms nothing else.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VARIABLE = "RLM_TEST_CANARY"
INHERITED = 60
"""A descriptor on a file with the secret, which every child has whose starter takes no care."""
UNTOUCHED = "untouched"
_BYSTANDER = "import sys, time; kept = sys.argv[1].encode(); print(id(kept), flush=True); time.sleep(7200)"
_SIGNALS = (signal.SIGUSR1, signal.SIGURG, signal.SIGIO)


@dataclass(slots=True, kw_only=True)
class Stage:
    """What is on it, and what became of it; build by `set_up`."""

    folder: Path
    secret: str
    """In a file, the environment, a command line, another process and an open descriptor: nowhere else."""
    prize: str
    mark: str
    """On the command line of every program that an attack starts to stay."""
    bystander: subprocess.Popen[str]
    memory_at: int
    listeners: dict[str, socket.socket]
    signals: list[str] = field(default_factory=list)

    def targets(self) -> str:
        """A line of code that tells a cell where everything is; it doesn't hold the secret, nor the prize as such."""
        half = len(self.prize) // 2
        known: dict[str, Any] = {
            "SECRET_FILE": str(self.folder / "secret.txt"),
            "PLANTED": str(self.folder / "planted.py"),
            "LINK": str(self.folder / "link"),
            "VICTIM": str(self.folder / "victim.txt"),
            "DROP": str(self.folder),
            "VARIABLE": VARIABLE,
            "MARK": self.mark,
            "HOST": os.getpid(),
            "BYSTANDER": self.bystander.pid,
            "MEMORY_AT": self.memory_at,
            "UNIX": str(self.folder / "listener"),
            "ABSTRACT": self.mark,
            **{name: _port(self.listeners.get(name)) for name in ("TCP4", "TCP6", "UDP4", "UDP6", "VSOCK")},
        }
        names = "; ".join(f"{name} = {value!r}" for name, value in known.items())
        return f"{names}; PRIZE = {self.prize[:half]!r} + {self.prize[half:]!r}\n"

    def damage(self) -> Iterator[str]:
        """What is no longer as it was set up; what it finds it puts right, for the next attack."""
        yield from self._changed_files()
        yield from self._touched_listeners()
        yield from (f"the host got {name}" for name in self.signals)
        self.signals.clear()
        yield from self._harmed_bystander()

    def left_processes(self) -> list[int]:
        """Programs that attacks started and that are there still."""
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if self._is_marked(path)]

    def _is_marked(self, path: Path) -> bool:
        try:
            return self.mark.encode() in path.read_bytes() and path.parent.name != str(os.getpid())
        except OSError:  # it has ended
            return False

    def _changed_files(self) -> Iterator[str]:
        found = {path.name for path in self.folder.iterdir()}
        for name in sorted(found - _FILES - {"listener", "__pycache__"}):
            yield f"{name} was made"
            _remove(self.folder / name)
        if os.pread(INHERITED, 1000, 0) != self.secret.encode():
            yield "the inherited descriptor was written to"
            os.truncate(INHERITED, 0)
            os.pwrite(INHERITED, self.secret.encode(), 0)
        whole = {"victim.txt": UNTOUCHED, "secret.txt": self.secret}
        for name, content in whole.items():
            path = self.folder / name
            state = (path.read_text(), oct(path.stat().st_mode & 0o777), path.stat().st_nlink) if path.exists() else ()
            if state != (content, "0o666", 1) or path.stat().st_mtime < 1000:
                yield f"{name} was changed: {state}"
                _write(path, content)

    def _touched_listeners(self) -> Iterator[str]:
        for name, listener in self.listeners.items():
            with suppress(BlockingIOError):
                if listener.type == socket.SOCK_DGRAM:
                    listener.recv(100)
                else:
                    listener.accept()[0].close()
                yield f"the listener {name} was reached"

    def _harmed_bystander(self) -> Iterator[str]:
        pid = self.bystander.pid
        if self.bystander.poll() is not None:
            yield "the bystander was killed"
            self.bystander, self.memory_at = _start_bystander(self.secret)
        elif os.getpriority(os.PRIO_PROCESS, pid) != 0 or _read(pid, "oom_score_adj") == "1000":
            yield "the bystander was set back"
            os.setpriority(os.PRIO_PROCESS, pid, 0) if os.geteuid() == 0 else self.bystander.kill()
            with suppress(OSError):
                Path(f"/proc/{pid}/oom_score_adj").write_text("0")
        elif _read(pid, "comm") == "renamed":
            yield "the bystander was renamed"


_FILES = {"secret.txt", "victim.txt", "planted.py", "link", "inherited"}


@contextmanager
def set_up() -> Iterator[Stage]:
    """Set the stage; all of it is gone afterwards, and so is what attacks have left."""
    secret, prize, mark = (f"{word}{secrets.token_hex(12)}" for word in ("secret", "prize", "mark"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rlm-stage-", ignore_cleanup_errors=True)))
        _lay_out(folder, secret)
        stack.enter_context(_inherited(folder / "inherited", secret))
        stack.enter_context(_variable(secret))
        bystander, memory_at = _start_bystander(secret)
        stage = Stage(
            folder=folder,
            secret=secret,
            prize=prize,
            mark=mark,
            bystander=bystander,
            memory_at=memory_at,
            listeners=_listeners(stack, folder, mark),
        )
        stack.callback(_clear, stage)
        stack.enter_context(_noted_signals(stage.signals))
        yield stage


def _lay_out(folder: Path, secret: str) -> None:
    """Open to every user of the machine: it is for the sandbox to keep guests out, not for the modes of files."""
    folder.chmod(0o777)
    for name, content in {"secret.txt": secret, "victim.txt": UNTOUCHED, "planted.py": f"TOKEN = {secret!r}"}.items():
        _write(folder / name, content)
    (folder / "link").symlink_to(folder / "secret.txt")


def _write(path: Path, content: str) -> None:
    _remove(path)
    path.write_text(content)
    path.chmod(0o666)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _inherited(path: Path, secret: str) -> Iterator[None]:
    path.write_text(secret)
    opened = os.open(path, os.O_RDWR)
    os.dup2(opened, INHERITED, inheritable=True)
    os.close(opened)
    try:
        yield
    finally:
        os.close(INHERITED)


@contextmanager
def _variable(secret: str) -> Iterator[None]:
    os.environ[VARIABLE] = secret
    try:
        yield
    finally:
        del os.environ[VARIABLE]


def _start_bystander(secret: str) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-c", _BYSTANDER, secret]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    with process.stdout as said:
        return process, int(said.readline())


@contextmanager
def _noted_signals(noted: list[str]) -> Iterator[None]:
    handler: Callable[..., None] = lambda number, _frame: noted.append(signal.Signals(number).name)  # noqa: E731
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _listeners(stack: ExitStack, folder: Path, mark: str) -> dict[str, socket.socket]:
    """Those that this machine can have."""
    wanted: dict[str, tuple[int, int, Any]] = {
        "TCP4": (socket.AF_INET, socket.SOCK_STREAM, ("0.0.0.0", 0)),
        "TCP6": (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
        "UDP4": (socket.AF_INET, socket.SOCK_DGRAM, ("0.0.0.0", 0)),
        "UDP6": (socket.AF_INET6, socket.SOCK_DGRAM, ("::1", 0)),
        "UNIX": (socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "listener")),
        "ABSTRACT": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{mark}"),
        "VSOCK": (socket.AF_VSOCK, socket.SOCK_STREAM, (socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY)),
    }
    listeners = {}
    for name, (family, kind, address) in wanted.items():
        with suppress(OSError):  # no IPv6, no vsock
            listener = socket.socket(family, kind)
            stack.callback(listener.close)
            listener.setblocking(False)
            listener.bind(address)
            if kind == socket.SOCK_STREAM:
                listener.listen()
            listeners[name] = listener
    (folder / "listener").chmod(0o777)
    return listeners


def _port(listener: socket.socket | None) -> int:
    return 9 if listener is None else listener.getsockname()[1]


def _read(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text().strip()


def _clear(stage: Stage) -> None:
    for pid in stage.left_processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    stage.bystander.kill()
    stage.bystander.wait()
