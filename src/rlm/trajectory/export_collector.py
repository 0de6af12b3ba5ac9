"""Sends spans to an OpenTelemetry collector over HTTP, in OTLP's JSON.

Only the address that the user names is contacted; a redirect is not followed, so nothing goes anywhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from rlm.core.exceptions import ConfigError, RunFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HEADERS_VARIABLE = "OTEL_EXPORTER_OTLP_HEADERS"
TIMEOUT_S = 30.0


async def send(endpoint: str, requests: Iterable[Mapping[str, Any]], environ: Mapping[str, str]) -> int:
    """Post each request in turn; returns how many were sent. Headers come from `OTEL_EXPORTER_OTLP_HEADERS`.

    Raises:
        ConfigError: the endpoint isn't an http address.
        RunFailed: the collector can't be reached, or refuses.
    """
    import aiohttp

    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname:
        raise ConfigError(f"{endpoint!r} isn't an http address\nwrite http://localhost:4318/v1/traces")
    timeout, count = aiohttp.ClientTimeout(total=TIMEOUT_S), 0
    try:
        async with aiohttp.ClientSession(headers=_headers(environ), timeout=timeout) as session:
            for request in requests:
                async with session.post(endpoint, json=request, allow_redirects=False) as reply:
                    if reply.status != 200:
                        raise RunFailed(f"the collector at {endpoint} answered {reply.status} {reply.reason}")
                count += 1
    except (aiohttp.ClientError, TimeoutError) as error:
        raise RunFailed(f"the collector at {endpoint} can't be reached: {error or type(error).__name__}") from error
    return count


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in environ.get(HEADERS_VARIABLE, "").split(",") if "=" in pair)
    return {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}
