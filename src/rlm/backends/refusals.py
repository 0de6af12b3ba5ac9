"""Makes one of the project's errors of a server's refusal; the server is OpenAI, Anthropic, or speaks like them. Status
and code decide, words only where there is no code, and the server's own text is shown redacted only."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rlm.backends.counts import count_in
from rlm.backends.json_text import decode
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
    ToolsRefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.types import Json

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
_TOOLS = r"\b(?:tools?\b|tool.?(?:use|choice|call\w*)|function.?call\w*)"
_NO_TOOLS = re.compile(
    rf"(?:not|n't) (?:currently )?supports? .{{0,40}}?{_TOOLS}"
    rf"|{_TOOLS}.{{0,40}}(?:not|n't|un)(?: be)? ?(?:supported|enabled|available)"
    r"|(?:unsupported|unrecognized|unknown|unexpected|not permitted)\b.{0,60}\W(?:tools|tool_choice|functions)\b"
    r"|\btools\W.{0,40}not permitted|\btools\b.{0,30}requires --|requires --enable-auto-tool-choice"
    r"|no endpoints found that support tool use",
    re.IGNORECASE,
)
"""What servers write where the model, or the way they serve it, has no tool calls."""
_PASSING = frozenset({408, 409, 425})
_STATUSES = {
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "badrequesterror": 400,
    "context_length_exceeded": 400,
}
"""The status that an error under status 200 would have had, by its type or code: Anthropic's, OpenAI's and others'."""
_WORDS = (
    *(
        "message",
        "msg",
        "detail",
        "details",
        "error_message",
        "error_msg",
        "error_description",
        "description",
        "reason",
    ),
    *("error", "errors", "title"),
)
"""The members of an error in which servers say what it is, the best first."""
_NESTED = 6
_ITEMS = 3
"""How many errors of a list are told."""
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_PAGE = re.compile(rb"\s*<(?:!doctype|html|\?xml|head|body)", re.IGNORECASE)
_EVENT = re.compile(rb"(?:event:[^\r\n]*[\r\n]+)?data:([^\r\n]*)")
"""An error as the only event of a stream, under a status that isn't 200."""
_TAG = re.compile(r"<[^<>]*>")
_SHOWN_BYTES = 4_000


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
    body = _first(_decoded(content))
    error = body.get("error") or body if isinstance(body, dict) else body
    return Refusal(
        status=status,
        code=_code(error),
        message=_words(body) or _plain_text(content, body),
        retry_after_s=parse_retry_after(headers.get("Retry-After")),
        location=headers.get("Location", ""),
    )


def refusal_within(content: bytes, event: str = "") -> Refusal | None:
    """The refusal that some servers send under status 200, in a body or as an event; None if `content` isn't one.

    The true status is the error's code or follows from its type; where neither tells, it counts as 502.
    """
    if event != "error" and b'"error"' not in content:
        return None
    body = _first(_decoded(content))
    error = _error_in(body, is_error=event == "error")
    if error is None:
        return None
    return Refusal(status=_status(error), code=_code(error), message=_words(error) or _plain_text(content, body))


def refusal_instead(content: bytes) -> Refusal | None:
    """What another server than a model's says under status 200: a web page, or JSON of another kind; None otherwise."""
    body = _first(_decoded(content))
    is_other = isinstance(body, dict) and body and not {"choices", "content"} & body.keys()
    if not is_other and not _PAGE.match(content):
        return None
    return Refusal(status=200, code="", message=_words(body) or _plain_text(content, body))


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
    if status == 413 or ((status in (400, 422) or status >= 500) and _OVERFLOW.search(refusal.says)):
        return ContextOverflowError, f"the request does not fit the context window of {model!r}"
    if refuses_tools(refusal):
        return ToolsRefusedError, f"{model!r} takes no tool calls here; --dialect code does without them"
    if status in (503, 529):
        return BackendConnectionError, "the server is overloaded, or down for a while"
    if status >= 500 or status in _PASSING:
        return BackendConnectionError, "the server failed"
    return BadRequestError, _request_advice(refusal, model)


def refuses_tools(refusal: Refusal) -> bool:
    """Whether a server refuses a request because it has tools."""
    return refusal.status in (400, 404, 405, 422, 500, 501, 502) and _NO_TOOLS.search(refusal.says) is not None


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
    if refusal.status == 200:
        return "what answers there is not a model; check the base URL"
    return "the request was refused"


def _host_of(location: str) -> str:
    try:
        host = urlsplit(location).hostname
    except ValueError:
        host = None
    return redact(host, None) if host else "another path"


def _decoded(content: bytes) -> Json:
    event = _EVENT.match(content)
    try:
        return decode(event[1] if event else content)
    except ValueError:
        return None  # an HTML page, or nothing


def _first(body: Json) -> Json:
    """The object that some servers put into a list."""
    return body[0] if isinstance(body, list) and body and isinstance(body[0], dict) else body


def _error_in(body: Json, *, is_error: bool) -> Json:
    """The error in a body or event: beside the choices, in one of them, or all there is; None where it has none."""
    if not isinstance(body, dict):
        return {"message": body} if is_error else None
    choices = body.get("choices")
    places = [body, *(choices if isinstance(choices, list) else ())]
    errors = [place.get("error") for place in places if isinstance(place, dict)]
    if (error := next((error for error in errors if _tells(error)), None)) is not None:
        return body if error is True else error
    return body if is_error or "error" in (body.get("object"), body.get("type")) else None


def _tells(error: Json) -> bool:
    return any(error.values()) if isinstance(error, dict) else bool(error)


def _code(error: Json) -> str:
    """What says in one word what an error is."""
    if not isinstance(error, dict):
        return ""
    return " ".join(str(error[name]) for name in ("code", "type", "status") if isinstance(error.get(name), str | int))


def _status(error: Json) -> int:
    if isinstance(error, dict):
        for word in (error.get(name) for name in ("code", "status", "type")):
            number = count_in(word)
            if number is not None and 400 <= number < 600:
                return number
            if str(word).lower() in _STATUSES:
                return _STATUSES[str(word).lower()]
    return 502


def _words(error: Json, depth: int = 0) -> str:
    """What an error of any shape says, as text; empty where it says nothing."""
    if isinstance(error, str):
        return error.strip()
    if isinstance(error, list) and depth < _NESTED:
        return "; ".join(filter(None, (_words(item, depth + 1) for item in error[:_ITEMS])))
    if not isinstance(error, dict) or depth >= _NESTED:
        return ""
    said = next(filter(None, (_words(error.get(name), depth + 1) for name in _WORDS)), "")
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None  # OpenRouter's: what the provider said
    return f"{said}: {raw}" if isinstance(raw, str) and raw.strip() else said


def _plain_text(content: bytes, body: Json) -> str:
    """The text of a body that is not JSON, of a page its title; JSON that says nothing is shown as it is."""
    text = content[:_SHOWN_BYTES].decode("utf-8", "replace")
    if isinstance(body, dict | list):
        return text if body else ""
    if not _PAGE.match(content):
        return text.strip()
    title = _TITLE.search(text)
    return " ".join(_TAG.sub(" ", title[1] if title else text).split())
