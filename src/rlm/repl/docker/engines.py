"""The way to a Docker engine: its API by docker-py, off the event loop, and every failure of it in words.

Nothing here knows what a container of ours looks like.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from rlm.core.exceptions import ConfigError, REPLError, SandboxUnavailableError
from rlm.core.extras import install_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

R = TypeVar("R")
P = TypeVar("P", bound=asyncio.Protocol)

_AT_ONCE = 8
_TIMEOUT_S = 60
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
_WORDS = 500
"""Of an engine's explanation; some runtimes explain themselves at length."""
_INSTEAD = "or choose another sandbox: --env local or --env wasm. `rlm doctor` says what works here"
_DEFAULT = "unix:///var/run/docker.sock"


class Refused(REPLError):
    """The engine answered that it can't do what was asked; callers of this package tell by `status` what to do."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status: 404 if the container or the image does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an engine listens."""

    shown: str
    """As the user knows it: `DOCKER_HOST`, or the default; without credentials."""
    path: str = ""
    """Of its socket; empty for TCP."""
    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None


class DockerEngine:
    """One engine; its calls wait in threads of their own, a few at once."""

    def __init__(self, client: Any, address: Address) -> None:
        self._client = client
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._unanswered: set[object] = set()
        self.address = address

    @property
    def is_quiet(self) -> bool:
        """Every question has been answered, even those whose callers were cancelled."""
        return not self._unanswered

    @classmethod
    async def connect(cls, environ: Mapping[str, str] | None = None) -> DockerEngine:
        """Reach the engine that `DOCKER_HOST` and its companions name, else the one of this machine.

        Raises:
            SandboxUnavailableError: docker-py or the engine is missing, or it does not let this user in.
        """
        return cls(*await _in_thread(lambda: _connected(os.environ if environ is None else environ)))

    async def ask(self, question: Callable[[Any], R]) -> R:
        """Run `question` with docker-py's low-level client, in a thread, which goes on if the caller is cancelled.

        Raises:
            Refused: the engine can't do that.
            SandboxUnavailableError: it doesn't answer.
        """

        mark = object()

        def asked() -> R:
            try:
                with _in_words(self.address.shown):
                    return question(self._client)
            finally:
                self._unanswered.discard(mark)

        async with self._at_once:
            self._unanswered.add(mark)
            return await _in_thread(asked)

    async def open_stream(self, make: Callable[[], P]) -> P:
        """Connect a protocol to the engine's own address. Raises:
        SandboxUnavailableError: it doesn't answer.
        """
        loop, address = asyncio.get_running_loop(), self.address
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                if address.path:
                    return (await loop.create_unix_connection(make, address.path))[1]
                return (await loop.create_connection(make, address.host, address.port, ssl=address.tls))[1]
        except OSError as e:  # or its TimeoutError
            raise SandboxUnavailableError(_no_answer(address.shown, str(e) or "no end of waiting")) from e

    async def aclose(self) -> None:
        """Close the connections; whoever still waits for an answer gets none."""
        await _in_thread(self._client.close)


async def _in_thread(work: Callable[[], R]) -> R:
    """Run `work` in a thread that nothing waits for but the caller: not the end of the process, if the engine hangs."""
    done: Future[R] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as e:  # noqa: BLE001 - raised to the caller
            done.set_exception(e)

    done.set_running_or_notify_cancel()
    threading.Thread(target=run, name="rlm-docker", daemon=True).start()
    return await asyncio.wrap_future(done)


def _connected(environ: Mapping[str, str]) -> tuple[Any, Address]:
    try:
        import docker
    except ImportError as e:
        raise SandboxUnavailableError(
            f"the sandbox 'docker' needs the package docker\ninstall it: {install_command('docker')}"
        ) from e
    host = environ.get("DOCKER_HOST") or _DEFAULT
    with _in_words(_shown(host)):
        options = docker.utils.kwargs_from_env(dict(environ) or {"": ""})
        address = _address(host, options.get("tls"))
        _knock(address)
        return docker.APIClient(version="auto", timeout=_TIMEOUT_S, **options), address


@contextmanager
def asking() -> Iterator[None]:
    """Translate errors of the client that `connect_blocking` gives."""
    with _in_words(_shown(os.environ.get("DOCKER_HOST") or _DEFAULT)):
        yield


def connect_blocking() -> Any:
    """docker-py's client of this process's environment, for a process without an event loop. Raises:
    SandboxUnavailableError: as `DockerEngine.connect`.
    """
    return _connected(os.environ)[0]


def _shown(text: str) -> str:
    """The same without credentials in addresses."""
    return _CREDENTIALS.sub("", text)


def _address(host: str, tls: Any) -> Address:
    from docker.utils import parse_host

    url, shown = urlsplit(parse_host(host, tls=bool(tls))), _shown(host)
    if url.scheme == "http+unix":
        return Address(shown=shown, path=url.path)
    if url.scheme not in ("http", "https"):
        raise ConfigError(
            f"DOCKER_HOST={shown}: only unix:// and tcp:// addresses can carry a sandbox\n"
            "forward the engine's socket: ssh -N -L /path/docker.sock:/var/run/docker.sock HOST, "
            "and set DOCKER_HOST=unix:///path/docker.sock"
        )
    secure = _tls_context(tls) if url.scheme == "https" else None
    return Address(shown=shown, host=url.hostname or "127.0.0.1", port=url.port or 0, tls=secure)


def _knock(address: Address) -> None:
    """See whether anyone is behind a socket: docker-py would hide the reason, and leave its own socket open. Raises:
    OSError: nobody, or not for this user.
    """
    if address.path:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.settimeout(_TIMEOUT_S)
            trial.connect(address.path)


def _tls_context(tls: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=(tls.ca_cert or None) if tls else None)
    if tls and not tls.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if tls and tls.cert:
        context.load_cert_chain(*tls.cert)
    return context


@contextmanager
def _in_words(address: str) -> Iterator[None]:
    """Translate what docker-py and its HTTP library raise."""
    import requests.exceptions
    from docker import errors

    try:
        yield
    except errors.APIError as e:
        raise Refused(_shown(str(e.explanation or e)).strip()[:_WORDS], status=e.status_code or 500) from e
    except (errors.DockerException, requests.exceptions.RequestException, OSError) as e:
        raise SandboxUnavailableError(_no_answer(address, _shown(str(e)))) from e


def _no_answer(address: str, why: str) -> str:
    if "Permission denied" in why or "PermissionError" in why:
        return (
            f"this user may not use the Docker engine at {address}\n"
            f"join the group docker (and log in anew), or run a rootless engine and set DOCKER_HOST, {_INSTEAD}"
        )
    return (
        f"no Docker engine answers at {address} ({why[:300]})\n"
        f"start it (systemctl start docker), or set DOCKER_HOST to one that runs, {_INSTEAD}"
    )
