"""What a failed result of `claude -p` means, as one of the project's errors.

The program says `subtype: success` of failures too: only `is_error` tells them. Its own words are shown redacted, and
decide only where neither a status nor a kind is there.
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

from rlm.backends.redact import redact
from rlm.core.exceptions import (
    AuthenticationError,
    BackendConnectionError,
    BackendError,
    BadReplyError,
    BadRequestError,
    ContextOverflowError,
    QuotaExhaustedError,
    RateLimitError,
)

if TYPE_CHECKING:
    from rlm.backends.claude_cli.wire import ProgramEvent, ProgramReply, RateLimit

LOG_IN = "run claude and /login, or set CLAUDE_CODE_OAUTH_TOKEN (claude setup-token)"
_PLAN = re.compile(r"usage limit|hit your .*limit|limit reached|extra usage|out of .*usage", re.IGNORECASE)
_CREDIT = re.compile(r"credit balance|billing", re.IGNORECASE)
_LOGIN = re.compile(r"not logged in|/login|invalid api key|oauth|authenticat", re.IGNORECASE)
_OVERFLOW = re.compile(r"prompt is too long|request too large|context window", re.IGNORECASE)
_REACH = re.compile(r"connection|network|timed? ?out|ECONN|ENOTFOUND|server-side|fetch failed", re.IGNORECASE)
_BROKEN = re.compile(r"malformed response|empty or malformed", re.IGNORECASE)


def to_error(result: ProgramEvent, draft: ProgramReply) -> BackendError:
    """The error that a result with `is_error` means."""
    said = result.result or ""
    retry_after_s = _seconds_left(draft.limit)
    kind, advice = _classify(said, draft, result)
    resets = "" if draft.limit is None or retry_after_s is None else f"; it resets at {_clock(draft.limit)}"
    message = f"claude: {advice}{resets}: {redact(said, None)}"
    usage = None if result.usage is None else result.usage.tokens()
    return kind(message, retry_after_s=retry_after_s, status=result.api_error_status, usage=usage)


def _classify(said: str, draft: ProgramReply, result: ProgramEvent) -> tuple[type[BackendError], str]:
    status = result.api_error_status
    if result.terminal_reason == "prompt_too_long" or status == 413 or _OVERFLOW.search(said):
        return ContextOverflowError, "the request does not fit the model's context window"
    if _CREDIT.search(said) or status == 402 or draft.kind == "billing_error":
        return QuotaExhaustedError, "the account has no credit left"
    if status == 429 or draft.kind == "rate_limit" or _PLAN.search(said):
        return _limited(said, draft.limit)
    if status in (401, 403) or draft.kind.startswith(("authentication", "oauth")) or _LOGIN.search(said):
        return AuthenticationError, f"it isn't logged in, or its login is refused; {LOG_IN}"
    if _BROKEN.search(said):
        return BadReplyError, "it could not read the provider's reply"
    if (status or 0) >= 500 or draft.kind in ("server_error", "overloaded") or _REACH.search(said):
        return BackendConnectionError, "the provider can't be reached, or failed"
    if status == 404:
        return BadRequestError, "there is no such model for this login; sonnet, opus and haiku are short names"
    return BadRequestError, "the request was refused"


def _limited(said: str, limit: RateLimit | None) -> tuple[type[BackendError], str]:
    if _PLAN.search(said) or (limit is not None and limit.status == "rejected"):
        return QuotaExhaustedError, "the plan's limit is reached"
    return RateLimitError, "the rate limit is reached; lower [claude_cli] processes if it recurs"


def _seconds_left(limit: RateLimit | None) -> float | None:
    if limit is None or limit.resets_at is None or limit.status != "rejected":
        return None
    return max(0.0, limit.resets_at - time.time())


def _clock(limit: RateLimit) -> str:
    assert limit.resets_at is not None
    try:
        return datetime.fromtimestamp(limit.resets_at).astimezone().strftime("%Y-%m-%d %H:%M %Z")
    except (ValueError, OverflowError, OSError):  # a year out of range
        return "a time it can't name"
