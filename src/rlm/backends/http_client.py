"""Requests to one provider over aiohttp, each bounded in time and size, never redirected, with aiohttp's errors
translated here and nowhere else. It knows HTTP, and nothing of what a provider says over it."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # missing in typeshed

import aiohttp

from rlm.backends.redact import redact
from rlm.core.exceptions import BackendConnectionError, BadReplyError, ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

REPLY_CAP_BYTES = 32 * 2**20
CONNECT_TIMEOUT_S = 15.0
DRAIN_S = 0.5
REST_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a provider is, and what every request to it carries."""

    base_url: str
    section: str
    """The provider's section of the configuration, such as openai, for messages."""
    key: str | None = field(default=None, repr=False)
    """The key, which is masked wherever it turns up."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The headers of every request, one of them with the key."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment, for its proxy variables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long one attempt may take, in seconds."""

    total_s: float = 1200.0
    """From the request to the last byte of the answer."""
    first_byte_s: float = 300.0
    """From the request to the first byte of the answer's body."""
    idle_s: float = 300.0
    """From one byte of the body to the next."""


class HttpAnswer:
    """The answer of a server, whatever its status; its body is read once, while it arrives."""

    def __init__(self, host: str, response: aiohttp.ClientResponse, clock: _Clock) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        """The headers, looked up without regard to case."""
        self._host = host
        self._response = response
        self._clock = clock
        self._size_bytes = 0

    async def piece(self) -> bytes:
        """The next piece of the body; empty at the end. Raises:
        BadReplyError: the body is cut short, or above 32 MB.
        """
        try:
            piece = await self._response.content.readany()
        except aiohttp.ClientPayloadError as error:
            raise BadReplyError(f"{self._host}: the reply was cut short") from error
        self._clock.heard()
        self._size_bytes += len(piece)
        if self._size_bytes > REPLY_CAP_BYTES:
            self._response.close()
            raise BadReplyError(f"{self._host}: the reply is larger than {REPLY_CAP_BYTES // 2**20} MB")
        return piece

    async def whole(self) -> bytes:
        """The body to its end."""
        body = bytearray()
        while piece := await self.piece():
            body += piece
        return bytes(body)

    async def rest(self) -> bytes:
        """The body as far as it comes soon, for an answer whose status says enough."""
        body = bytearray()
        with suppress(BadReplyError, aiohttp.ClientError, OSError):  # a TimeoutError is an OSError
            async with asyncio.timeout(REST_S):
                while piece := await self.piece():
                    body += piece
        return bytes(body)

    async def drain(self) -> None:
        """Read what follows a reply that is complete, so that the connection can serve again; at most for a moment."""
        with suppress(TimeoutError, BadReplyError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(DRAIN_S):
                while await self.piece():
                    pass


class HttpClient:
    """Posts JSON below one base URL, over one session that is opened by the first call and limits no concurrency."""

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts) -> None:
        parts = check_base_url(endpoint)
        self.host = parts.netloc
        self._endpoint = endpoint
        self._base_url = endpoint.base_url.rstrip("/")
        self._timeouts = timeouts
        self._proxy = proxy_for(parts, endpoint.environ)
        self._session: aiohttp.ClientSession | None = None

    def post(self, path: str, body: bytes) -> AbstractAsyncContextManager[HttpAnswer]:
        """Send `body`; see `_asked`."""
        return self._asked("POST", path, body)

    def get(self, path: str) -> AbstractAsyncContextManager[HttpAnswer]:
        """Ask for what is there; see `_asked`."""
        return self._asked("GET", path, None)

    @asynccontextmanager
    async def _asked(self, method: str, path: str, body: bytes | None) -> AsyncIterator[HttpAnswer]:
        """Send one request; within the block the answer can be read. Leaving it early closes the connection.

        Raises:
            BackendConnectionError: unreachable, dropped, or too slow.
            BadReplyError: the answer is cut short, above 32 MB, or not HTTP.
        """
        clock = _Clock(self._timeouts)
        with self._translated(clock):
            async with (
                clock.running(),
                self._opened().request(
                    method, self._base_url + path, data=body, allow_redirects=False, proxy=self._proxy
                ) as response,
            ):
                yield HttpAnswer(self.host, response, clock)

    async def aclose(self) -> None:
        """Close every connection; idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # the budget bounds concurrency, over the whole tree
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Content-Type": "application/json", **self._endpoint.headers},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            )
        return self._session

    @contextmanager
    def _translated(self, clock: _Clock) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise BackendConnectionError(f"{self.host}: {clock.verdict()}", billed=clock.has_passed) from error
        except aiohttp.ClientPayloadError as error:
            raise BadReplyError(f"{self.host}: the reply was cut short") from error
        except aiohttp.ClientResponseError:
            # Not chained: it quotes what the server sent, and holds the request's headers with the key.
            raise BadReplyError(f"{self.host}: what it answered is not HTTP; check the base URL") from None
        except (aiohttp.ClientError, OSError) as error:
            said = redact(_in_words(error), self._endpoint.key)
            unsent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL)
            raise BackendConnectionError(f"{self.host}: {said}\n{self._advice()}", billed=not unsent) from error

    def _advice(self) -> str:
        section = self._endpoint.section
        return f"check the network, and the address: base_url in [{section}], or {section.upper()}_BASE_URL"


def _in_words(error: aiohttp.ClientError | OSError) -> str:
    """Why a server can't be reached, in words."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"no host named {error.host} was found"
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy {error.host}:{error.port} can't be reached: {_reason(error.os_error)}"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate isn't trusted: {error.certificate_error}"
        case aiohttp.ClientConnectorSSLError():
            return f"no TLS connection can be made: {_reason(error.os_error)}; an address without TLS begins with http:"
        case aiohttp.ClientConnectorError():
            return f"it can't be reached: {_reason(error.os_error)}"
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection before it had answered"
        case OSError():
            return f"the connection broke: {_reason(error)}"
    return f"{type(error).__name__}: {error}"


def _reason(error: OSError) -> str:
    """The system's message for an error; for a refused connection asyncio would put its own words in its place."""
    if isinstance(error, ssl.SSLError):  # its numbers are not the system's
        return error.reason or str(error)
    if error.errno is None or error.errno not in errno.errorcode:
        return str(error)
    return os.strerror(error.errno)


class _Clock:
    """The one deadline of an attempt: to the first byte, then to the next, and never past the end of it all."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + timeouts.total_s
        self._timeout = asyncio.timeout_at(min(self._end, self._loop.time() + timeouts.first_byte_s))
        self._begun = False

    def running(self) -> asyncio.Timeout:
        return self._timeout

    def heard(self) -> None:
        """Move the deadline, since something arrived; one that has passed already stays."""
        self._begun = True
        if not self._timeout.expired():
            self._timeout.reschedule(min(self._end, self._loop.time() + self._timeouts.idle_s))

    @property
    def has_passed(self) -> bool:
        """Whether a limit of this clock was exceeded, not the time for a connection."""
        return self._timeout.expired()

    def verdict(self) -> str:
        """Which of the limits was exceeded, in words."""
        if not self._timeout.expired():
            return f"no connection within {CONNECT_TIMEOUT_S:g} s"
        if self._loop.time() >= self._end:
            return f"no complete reply within {self._timeouts.total_s:g} s (request_timeout_s)"
        if self._begun:
            return f"it fell silent for {self._timeouts.idle_s:g} s within its reply (idle_timeout_s)"
        return f"no reply began within {self._timeouts.first_byte_s:g} s (first_byte_timeout_s)"


def check_base_url(endpoint: Endpoint) -> SplitResult:
    """Take a base URL apart.

    Raises:
        ConfigError: it isn't an http or https URL of a host, or carries credentials or a query.
    """
    base_url, name = endpoint.base_url, f"{endpoint.section}.base_url"
    try:
        parts = urlsplit(base_url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ConfigError(f"{name} is not a URL; it should look like https://host/v1") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"{name} must hold no credentials and no query; the key goes into {endpoint.section.upper()}_API_KEY"
        )
    if not whole:
        raise ConfigError(f"{name} {base_url!r} is not complete; it should look like https://host/v1")
    return parts


def proxy_for(url: SplitResult, environ: Mapping[str, str]) -> str | None:
    """The proxy that the usual variables (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in either case) name for `url`."""
    proxies = {
        name: environ.get(f"{name}_proxy") or environ.get(f"{name}_proxy".upper(), "")
        for name in (url.scheme, "all", "no")
    }
    if proxy_bypass_environment(url.netloc, proxies):
        return None
    return proxies[url.scheme] or proxies["all"] or None
