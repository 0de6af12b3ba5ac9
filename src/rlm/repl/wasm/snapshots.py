"""The memory snapshot that every WASM sandbox starts from: made at first use, kept in the cache, checked before use.

Its name says what it was made from and what it is: the versions of Deno and Pyodide, the guest half, and the SHA-256 of
the content. A snapshot of another version is not found; a damaged one is made anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import SandboxUnavailableError
from rlm.repl.guest import __file__ as guest_file
from rlm.repl.wasm import deno_runtime
from rlm.repl.wasm.pyodide_files import older, work_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.repl.wasm.deno_runtime import Deno
    from rlm.repl.wasm.pyodide_files import Pyodide

_GUEST = Path(guest_file).parent
_PACKAGES = ("rlm", "rlm/repl")
"""The packages above the guest half, whose `__init__` is empty in the bundle."""
_TIMEOUT_S = 180.0
_MEMORY_BYTES = 1 << 30
_MOST_BYTES = 512 << 20
_KEY_CHARS = 16
_KEPT_S = 30 * 86_400.0
"""Seconds after which a snapshot of another version is removed: it is hardly in use any more, and soon made again."""


def find(cache: Path, deno: Deno, pyodide: Pyodide) -> Path | None:
    """The snapshot for these versions and this guest; None if the cache has no undamaged one."""
    for path in sorted(cache.glob(f"snapshot-{key(deno, pyodide)}-*.bin")):
        if _is_whole(path):
            return path
    return None


async def build(cache: Path, deno: Deno, pyodide: Pyodide) -> Path:
    """Make it, whole or not at all; another process may do the same meanwhile. Raises:
    SandboxUnavailableError: Pyodide does not start, or there is no room.
    """
    try:
        name = key(deno, pyodide)  # of what it is made from, should that change meanwhile
        with work_folder(cache) as work:
            path = work / "snapshot.bin"
            await _make(path, deno, pyodide)
            return await asyncio.to_thread(_put, path, cache, name)
    except OSError as e:
        raise SandboxUnavailableError(
            f"the snapshot for the sandbox wasm cannot be kept in {cache}: {e.strerror}"
        ) from e


def key(deno: Deno, pyodide: Pyodide) -> str:
    """A short digest of all that a snapshot is made from."""
    parts = [deno.version, pyodide.digest, *(hashlib.sha256(content).hexdigest() for _, content in _guest_files())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_KEY_CHARS]


async def _make(path: Path, deno: Deno, pyodide: Pyodide) -> None:
    task = deno_runtime.DenoTask(
        script="snapshot.mjs",
        settings={"pyodide": str(pyodide.folder)},
        readable=(pyodide.folder,),
        memory_bytes=_MEMORY_BYTES,
        file_bytes=_MOST_BYTES,
    )
    with path.open("wb") as out, tempfile.TemporaryFile() as guest, tempfile.TemporaryFile() as complaints:
        guest.write(_bundle())
        guest.seek(0)
        process = deno_runtime.start(deno, task, deno_runtime.Streams(stdin=guest, stdout=out, stderr=complaints))
        try:
            code = await asyncio.to_thread(_ended, process)
        finally:
            process.kill()
            process.wait()
        if code or not out.tell():
            complaints.seek(0)
            said = complaints.read(2_000).decode("utf-8", "replace")
            raise SandboxUnavailableError(
                f"Pyodide {pyodide.version} does not start under Deno {deno.version}: {' '.join(said.split())}"
            )


def _ended(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_TIMEOUT_S)
    except subprocess.TimeoutExpired as e:
        raise SandboxUnavailableError(f"Pyodide made no snapshot within {_TIMEOUT_S:g} s") from e


def _put(path: Path, cache: Path, name: str) -> Path:
    """Move it to its place in one step, and drop those that are not needed any more."""
    final = cache / f"snapshot-{name}-{_digest(path)}.bin"
    path.chmod(0o444)
    path.replace(final)
    damaged = [other for other in cache.glob(f"snapshot-{name}-*.bin") if other != final and not _is_whole(other)]
    for other in (*damaged, *older(cache, "snapshot-*.bin", _KEPT_S)):
        other.unlink(missing_ok=True)
    return final


def _is_whole(path: Path) -> bool:
    try:
        return path.stem.endswith(f"-{_digest(path)}")
    except OSError:  # another process has just removed it
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _guest_files() -> Iterator[tuple[str, bytes]]:
    """The guest half by path, the JavaScript too."""
    for path in sorted(_GUEST.rglob("*")):
        if path.suffix in (".py", ".mjs"):
            yield f"rlm/repl/guest/{path.relative_to(_GUEST).as_posix()}", path.read_bytes()


def _bundle() -> bytes:
    """The Python part of it as a zip that can be imported from."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for package in _PACKAGES:
            archive.writestr(f"{package}/__init__.py", b"")
        for name, source in _guest_files():
            if name.endswith(".py"):
                archive.writestr(name, source)
    return content.getvalue()
