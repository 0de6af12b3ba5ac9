"""One POST to one provider over aiohttp: bounded in time and size, never redirected, foreign errors translated here
and nowhere else. It knows HTTP and nothing of what a provider says in it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # missing in typeshed

import aiohttp

from rlm.backends.redact import redact
from rlm.core.exceptions import BackendConnectionError, BadReplyError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPLY_CAP_BYTES = 32 * 2**20
CONNECT_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """What a server answered, whatever the status."""

    status: int
    headers: Mapping[str, str]
    """Looked up without regard to case."""
    body: bytes


class HttpClient:
    """Posts JSON below one base URL, over one session that is opened by the first call and limits no concurrency."""

    def __init__(self, base_url: str, *, key: str | None, timeout_s: float, environ: Mapping[str, str]) -> None:
        parts = check_base_url(base_url)
        self.host = parts.netloc
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        self._timeout_s = timeout_s
        self._proxy = proxy_for(parts, environ)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, path: str, body: bytes) -> HttpReply:
        """Send `body` and read the whole answer.

        Raises:
            BackendConnectionError: unreachable, dropped, or not answered in time.
            BadReplyError: the answer is cut short, above 32 MB, or not HTTP.
        """
        with self._translated():
            async with self._opened().post(
                self._base_url + path, data=body, allow_redirects=False, proxy=self._proxy
            ) as response:
                content = await self._read(response)
                return HttpReply(status=response.status, headers=response.headers, body=content)

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
                headers=self._headers,
                timeout=self._timeout,
            )
        return self._session

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > REPLY_CAP_BYTES:
                response.close()
                raise BadReplyError(f"{self.host}: the reply is larger than {REPLY_CAP_BYTES // 2**20} MB")
        return bytes(body)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise BackendConnectionError(
                f"{self.host}: no complete reply within {self._timeout_s:g} s, or no connection within "
                f"{CONNECT_TIMEOUT_S:g} s"
            ) from error
        except aiohttp.ClientPayloadError as error:
            raise BadReplyError(f"{self.host}: the reply was cut short") from error
        except aiohttp.ClientResponseError:
            # Not chained: it quotes what the server sent, and holds the request's headers with the key.
            raise BadReplyError(f"{self.host}: what it answered is not HTTP; check the base URL") from None
        except (aiohttp.ClientError, OSError) as error:
            said = redact(f"{type(error).__name__}: {error}", self._key)
            raise BackendConnectionError(f"{self.host}: {said}") from error


def check_base_url(base_url: str) -> SplitResult:
    """Take a base URL apart.

    Raises:
        ConfigError: it isn't an http or https URL of a host, or carries credentials or a query.
    """
    try:
        parts = urlsplit(base_url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ConfigError("openai.base_url is not a URL; it should look like https://host/v1") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError("openai.base_url must hold no credentials and no query; the key goes into OPENAI_API_KEY")
    if not whole:
        raise ConfigError(f"openai.base_url {base_url!r} is not complete; it should look like https://host/v1")
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
