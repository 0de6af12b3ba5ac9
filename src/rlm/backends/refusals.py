"""Makes one of the project's errors of a server's refusal; the server is OpenAI, Anthropic, or speaks like them. Status
and code decide, words only where there is no code, and the server's own text is shown redacted only."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from rlm.backends.redact import redact
from rlm.backends.retry import parse_retry_after
from rlm.core.exceptions import (
    AuthenticationError,
    BackendConnectionError,
    BackendError,
    BadRequestError,
    ContextOverflowError,
    QuotaExhaustedError,
    RateLimitError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# Codes of OpenAI, vLLM and llama.cpp, then what they, Anthropic and others write where they send none.
_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|context (?:size|length|window)"
    r"|prompt is too long|too many tokens",
    re.IGNORECASE,
)
_QUOTA = re.compile(
    r"insufficient_quota|billing_hard_limit|exceeded your current quota|credit balance is too low|usage limits",
    re.IGNORECASE,
)
_PASSING = frozenset({408, 409, 425})
_STATUSES = {
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
    "invalid_request_error": 400,
}
"""The status that an error within a stream would have had, by Anthropic's type."""


class _Detail(Struct):
    message: Any = None
    code: Any = None
    type: Any = None


class _Body(Struct):
    error: _Detail | str | None = None
    message: Any = None
    detail: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The status, headers and error with which a server refused a request."""

    status: int
    code: str
    """`code` and `type` of the error, for matching only."""
    message: str
    """The server's message as sent: to be redacted before anyone sees it."""
    retry_after_s: float | None = None
    location: str = ""

    @property
    def says(self) -> str:
        return f"{self.code} {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressee:
    """Whom a refused request was for."""

    host: str
    model: str
    key_variable: str
    key: str | None = field(default=None, repr=False)


def read_refusal(status: int, headers: Mapping[str, str], content: bytes) -> Refusal:
    """Read an answer that isn't a completion; its body may be anything."""
    body = _read_body(content)
    detail = body.error if isinstance(body.error, _Detail) else _Detail(message=body.error)
    return Refusal(
        status=status,
        code=f"{detail.code or ''} {detail.type or ''}".strip(),
        message=str(detail.message or body.message or body.detail or ""),
        retry_after_s=parse_retry_after(headers.get("Retry-After")),
        location=headers.get("Location", ""),
    )


def refusal_within(content: bytes) -> Refusal | None:
    """The refusal that some routers and streams send under status 200; None if `content` isn't one.

    The true status is the error's code or follows from its type; where neither tells, it counts as 502.
    """
    error = _read_body(content).error
    if isinstance(error, str):
        error = _Detail(message=error)
    if error is None:
        return None
    status = error.code if isinstance(error.code, int) else _STATUSES.get(str(error.type), 502)
    return Refusal(status=status, code=f"{error.code or ''} {error.type or ''}", message=str(error.message or ""))


def to_error(refusal: Refusal, addressee: Addressee) -> BackendError:
    """The error that `refusal` means; its message says what to do, and never holds the key."""
    kind, advice = _classify(refusal, addressee)
    said = redact(refusal.message, addressee.key)
    if refusal.status == 401:
        said = ""  # it may echo the key, and says nothing else
    message = f"{addressee.host}: {advice} ({refusal.status})" + (f": {said}" if said else "")
    return kind(message, retry_after_s=refusal.retry_after_s, status=refusal.status)


def _classify(refusal: Refusal, addressee: Addressee) -> tuple[type[BackendError], str]:
    status, model = refusal.status, addressee.model
    if status in (401, 403):
        return AuthenticationError, _key_advice(status, addressee)
    if status == 402 or (status in (400, 429) and _QUOTA.search(refusal.says)):
        return QuotaExhaustedError, "the account has no credit left; check its plan and billing"
    if status == 429:
        return RateLimitError, _rate_advice(refusal)
    if status == 413 or (status in (400, 422, 500) and _OVERFLOW.search(refusal.says)):
        return ContextOverflowError, f"the request does not fit the context window of {model!r}"
    if status in (503, 529):
        return BackendConnectionError, "the server is overloaded, or down for a while"
    if status >= 500 or status in _PASSING:
        return BackendConnectionError, "the server failed"
    return BadRequestError, _request_advice(refusal, model)


def _key_advice(status: int, addressee: Addressee) -> str:
    if status == 401:
        return f"the key is missing or refused; check {addressee.key_variable}"
    return f"the key may not use model {addressee.model!r}, or not from here"


def _rate_advice(refusal: Refusal) -> str:
    asked = "" if refusal.retry_after_s is None else f" and asks to wait {refusal.retry_after_s:g} s"
    return f"the rate limit is reached{asked}; lower max_concurrency if it recurs"


def _request_advice(refusal: Refusal, model: str) -> str:
    if refusal.status == 404:
        return f"there is no model {model!r} at this address; check its name, and the base URL"
    if 300 <= refusal.status < 400:
        return (
            f"it redirects to {_host_of(refusal.location)}, which is not followed with a key; set the base URL itself"
        )
    return "the request was refused"


def _host_of(location: str) -> str:
    try:
        host = urlsplit(location).hostname
    except ValueError:
        host = None
    return redact(host, None) if host else "another path"


def _read_body(body: bytes) -> _Body:
    try:
        return msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Body()  # an HTML page, or nothing: the status alone decides
