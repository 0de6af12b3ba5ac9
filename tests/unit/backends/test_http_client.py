"""Foreign exceptions and proxies."""

from __future__ import annotations

import asyncio
import errno
import inspect
import socket
from types import SimpleNamespace
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import client_exceptions

from rlm.backends.http_client import Endpoint, HttpClient, Timeouts, _Clock, proxy_for
from rlm.core.exceptions import BackendConnectionError, BackendError, BadReplyError

FOREIGN = [
    each
    for _, each in inspect.getmembers(client_exceptions, inspect.isclass)
    if issubclass(each, aiohttp.ClientError) and each.__module__ == client_exceptions.__name__
]


def made(kind: type[Exception]) -> Exception:
    """An instance without its arguments, which differ from class to class, but with what those of connections hold."""
    held = {
        "_conn_key": SimpleNamespace(host="host", port=80),
        "_os_error": OSError(errno.ECONNREFUSED, "Connect call failed"),
        "_certificate_error": ValueError("why"),
    }
    bare = type(kind.__name__, (kind,), {"__str__": lambda _: "why", **held})
    return bare.__new__(bare)


@pytest.mark.parametrize(
    "foreign", [*FOREIGN, TimeoutError, ConnectionResetError, OSError], ids=lambda each: each.__name__
)
async def test_every_exception_of_aiohttp_becomes_one_of_ours(foreign: type[Exception]) -> None:
    client = HttpClient(Endpoint(base_url="http://host/v1", section="openai"), Timeouts())
    with pytest.raises(BackendError) as caught, client._translated(_Clock(Timeouts())):
        raise made(foreign)
    assert type(caught.value) in (BackendConnectionError, BadReplyError)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_server_that_is_not_there_is_told_in_words_with_what_to_check(scheme: str) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{deaf.getsockname()[1]}"
        client = HttpClient(Endpoint(base_url=f"{scheme}://{host}/v1", section="openai"), Timeouts())
        with pytest.raises(BackendConnectionError) as caught:
            async with client.post("/x", b"{}"):
                pass
        await client.aclose()
    first, advice = str(caught.value).splitlines()
    assert first == f"{host}: it can't be reached: Connection refused"
    assert "OPENAI_BASE_URL" in advice


async def test_each_piece_moves_the_deadline_and_none_beyond_the_end() -> None:
    clock = _Clock(Timeouts(total_s=100.0, first_byte_s=10.0, idle_s=60.0))
    async with clock.running() as deadline:
        start = asyncio.get_running_loop().time()
        assert deadline.when() == pytest.approx(start + 10, abs=5)
        clock.heard()
        assert deadline.when() == pytest.approx(start + 60, abs=5)
    hasty = _Clock(Timeouts(total_s=1.0, first_byte_s=10.0, idle_s=60.0))
    async with hasty.running() as deadline:
        hasty.heard()
        assert deadline.when() == pytest.approx(asyncio.get_running_loop().time() + 1, abs=0.9)


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://api.host/v1", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://api.host/v1", {"https_proxy": "http://q:1", "HTTPS_PROXY": "http://p:1"}, "http://q:1"),
        ("http://api.host/v1", {"HTTPS_PROXY": "http://p:1"}, None),
        ("http://api.host/v1", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("http://api.host/v1", {"ALL_PROXY": "http://p:1", "NO_PROXY": "other, .host"}, None),
        ("http://127.0.0.1:80/v1", {"HTTP_PROXY": "http://p:1", "no_proxy": "127.0.0.1"}, None),
        ("http://127.0.0.1:80/v1", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("http://api.host/v1", {}, None),
    ],
)
def test_the_usual_variables_name_the_proxy(url: str, environ: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(urlsplit(url), environ) == proxy
