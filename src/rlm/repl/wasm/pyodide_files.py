"""Where Pyodide is: the user's own folder, or the cache, which is filled once through Deno's npm client.

Nothing that was fetched is used unless its digests are those that ship here: the lock file's for Deno, and one for each
file for us. What is in the cache is checked again before each use, so that a damaged one is replaced.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import SandboxUnavailableError
from rlm.repl.wasm import deno_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.repl.wasm.deno_runtime import Deno

VERSION = "314.0.7"
SERIES = "314.0."
"""How a version must begin that a folder of the user's may hold; others have another interface."""
FILES: Mapping[str, str] = {
    "pyodide.mjs": "6f1d60f7bf529beb300f0f47983c921d3982363640ba20af0e38efdddbc66109",
    "pyodide.asm.mjs": "f7cdc8ece80678ceb712f8e65ebe6d3a83203a180c399865f49612a051693635",
    "pyodide.asm.wasm": "cc36e3cab04fdfc9a63ff13eb52eae2b911bf46c025cc7b281f394bd3de1d5e6",
    "python_stdlib.zip": "fa1957e5777068fc4f7437f96d860ae2fbe9c19732ba06c84e004ec16dd7dd7a",
    "pyodide-lock.json": "5dc2fc119108bc148c7457dc86e7675b5c87e1cafd420b9c34c1eaef7b36c010",
}
"""The files that are needed of it, each with its SHA-256 in `VERSION`."""

_LOCK = Path(__file__).with_name("pyodide.lock")
_VERSION = re.compile(rb'"(\d{3,}\.\d+\.\d+[\w.]*)"')
_FETCH_TIMEOUT_S = 300.0
_TRIES = 3
_PAUSE_S = 1.0
"""Seconds between tries: a registry that is not reached once often is a moment later."""
_WORK = "work-"
_LEFT_BEHIND_S = 86_400.0
_FOR_FETCHING = (
    "HOME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "DENO_CERT", "DENO_TLS_CA_STORE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_DIR", "SSL_CERT_FILE", "NPM_CONFIG_REGISTRY",
    "npm_config_registry",
)  # fmt: skip
"""The environment variables that Deno may need to reach a registry; no key of a provider is among them."""
_INSTEAD = f"or unpack the npm package pyodide {VERSION} elsewhere and name its folder in wasm.pyodide_dir"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyodide:
    """A folder with everything that a sandbox needs of Pyodide."""

    folder: Path
    version: str
    python: str
    """The version of Python in it."""
    platform: str
    """The tag of compiled wheels for it."""
    digest: str
    """The SHA-256 over the digests of all its files."""
    damaged: tuple[str, ...]
    """Files that are not as `VERSION` has them."""


def given(folder: Path) -> Pyodide:
    """Pyodide in a folder of the user's. Raises:
    SandboxUnavailableError: files are missing, damaged or of a version that is not supported.
    """
    try:
        pyodide = _read(folder)
    except FileNotFoundError as e:
        missing = Path(e.filename or "").name
        raise SandboxUnavailableError(
            f"wasm.pyodide_dir: {folder} has no {missing}\nit must hold the files of the npm package pyodide {VERSION}"
        ) from e
    except (OSError, ValueError, KeyError) as e:
        raise SandboxUnavailableError(f"wasm.pyodide_dir: {folder} cannot be read: {e}") from e
    if not pyodide.version.startswith(SERIES):
        raise SandboxUnavailableError(
            f"wasm.pyodide_dir: {folder} holds Pyodide {pyodide.version}, which is not supported\nuse {VERSION}"
        )
    if pyodide.version == VERSION and pyodide.damaged:
        raise SandboxUnavailableError(
            f"wasm.pyodide_dir: in {folder} these are damaged: {', '.join(pyodide.damaged)}\n"
            f"unpack the npm package pyodide {VERSION} anew"
        )
    return pyodide


def cached(cache: Path) -> Pyodide | None:
    """Pyodide in the cache; None if it is not there, or damaged."""
    try:
        pyodide = _read(place(cache))
    except (OSError, ValueError, KeyError):
        return None
    return None if pyodide.damaged else pyodide


@contextmanager
def work_folder(cache: Path) -> Iterator[Path]:
    """A temporary folder in the cache, which is made if it isn't there."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in older(cache, f"{_WORK}*", _LEFT_BEHIND_S):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=_WORK) as work:
        yield Path(work)


def refuse_foreign(cache: Path) -> None:
    """What is checked in the cache is read again later: nobody else may change it meanwhile. Raises:
    SandboxUnavailableError: others can write there.
    """
    try:
        status = cache.stat()
    except OSError:  # not there yet: it will be made for this user alone
        return
    if status.st_mode & 0o022 or (os.geteuid() and status.st_uid not in (0, os.geteuid())):
        raise SandboxUnavailableError(
            f"others can write to {cache}, where the sandbox wasm keeps its programs\n"
            "make it yours alone (chown, chmod go-w), or set XDG_CACHE_HOME to another folder"
        )


def older(folder: Path, pattern: str, age_s: float) -> list[Path]:
    """The paths in the folder that match `pattern` and were not changed for `age_s` seconds."""
    found = []
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):  # another process has just removed it
            if time.time() - path.stat().st_mtime > age_s:
                found.append(path)
    return found


def place(cache: Path) -> Path:
    """The folder where the cache keeps Pyodide."""
    return cache / f"pyodide-{VERSION}"


async def fetch(cache: Path, deno: Deno, environ: Mapping[str, str]) -> Pyodide:
    """Fetch it into the cache, whole or not at all; another process may do the same meanwhile. Raises:
    SandboxUnavailableError: it can't be fetched, or is not what it should be.
    """
    try:
        with work_folder(cache) as work:
            package = await _install(work, deno, environ)
            if damaged := _read(package).damaged:
                raise SandboxUnavailableError(
                    f"what was fetched as Pyodide {VERSION} is not it: {', '.join(damaged)} differ\n{_INSTEAD}"
                )
            await asyncio.to_thread(_put, package, cache, work)
    except OSError as e:
        raise SandboxUnavailableError(f"Pyodide cannot be kept in {cache}: {e.strerror}\n{_INSTEAD}") from e
    return _read(place(cache))


async def _install(work: Path, deno: Deno, environ: Mapping[str, str]) -> Path:
    """Let Deno install the package below `work`; returns its folder."""
    shutil.copyfile(_LOCK, work / "deno.lock")
    (work / "package.json").write_text(json.dumps({"dependencies": {"pyodide": VERSION}}), encoding="utf-8")
    complaints = ""
    try:
        async with asyncio.timeout(_FETCH_TIMEOUT_S):
            for number in range(_TRIES):
                await asyncio.sleep(_PAUSE_S if number else 0)
                complaints = await _complaints(work, deno, environ)
                if not complaints:
                    return work / "node_modules" / "pyodide"
    except TimeoutError as e:
        raise SandboxUnavailableError(_unreachable(f"no end after {_FETCH_TIMEOUT_S:g} s")) from e
    raise SandboxUnavailableError(_unreachable(complaints))


async def _complaints(work: Path, deno: Deno, environ: Mapping[str, str]) -> str:
    """Try once; returns what Deno complained of if it failed, else an empty text."""
    environment = {name: environ[name] for name in _FOR_FETCHING if name in environ}
    process = await asyncio.create_subprocess_exec(
        *deno_runtime.following(deno),
        *("install", "--frozen", "--node-modules-dir=auto", "--quiet"),
        cwd=work,
        env={**environment, "DENO_DIR": str(work / "deno"), "NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = " ".join(complaints.decode("utf-8", "replace").split())[:500]
    return said or f"exit code {process.returncode}" if process.returncode else ""


def _unreachable(why: str) -> str:
    return f"Pyodide {VERSION} cannot be fetched with Deno's npm client: {why}\n{_INSTEAD}"


def _put(package: Path, cache: Path, work: Path) -> None:
    """Move the files that are needed to their place in one step."""
    ready = work / "ready"
    ready.mkdir()
    for name in FILES:
        shutil.copyfile(package / name, ready / name)
        (ready / name).chmod(0o444)
    if place(cache).exists() and cached(cache) is None:
        place(cache).rename(work / "damaged")
    try:
        ready.rename(place(cache))
    except OSError:
        if cached(cache) is None:  # else another process was faster
            raise


def _read(folder: Path) -> Pyodide:
    digests = {name: _digest(folder / name) for name in FILES}
    info = json.loads((folder / "pyodide-lock.json").read_bytes())["info"]
    found = _VERSION.search((folder / "pyodide.mjs").read_bytes())
    if found is None:
        raise ValueError("pyodide.mjs names no version")
    return Pyodide(
        folder=folder,
        version=found[1].decode(),
        python=info["python"],
        platform=f"pyemscripten_{info['abi_version']}_{info['arch']}",
        digest=hashlib.sha256(json.dumps(digests).encode()).hexdigest(),
        damaged=tuple(name for name, digest in digests.items() if digest != FILES[name]),
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
