"""Why a reply ended, in one word for the many that servers have: OpenAI, Anthropic, Gemini, Mistral, Cohere, Bedrock,
GLM, DeepSeek, vLLM and others spell the same reason each in their own way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.types import Finish, Json

Ending: TypeAlias = "Finish | Literal['error']"
"""A finish, or `error`: the server gave up, so that what it sent is not a reply."""

_WORDS: Mapping[Ending, str] = {
    "stop": "stop end endturn eos eostoken stopsequence complete completed done finished",
    "length": (
        "length maxtokens maxoutputtokens maxcompletiontokens maxnewtokens maxlength modellength contextlength "
        "modelcontextwindowexceeded contextwindowexceeded tokenlimit lengthlimit outputlimit limit incomplete "
        "truncated pauseturn"
    ),
    "tool_calls": "toolcalls toolcall tooluse functioncall functioncalls",
    "content_filter": (
        "contentfilter contentfiltered refusal safety recitation blocklist prohibitedcontent spii sensitive "
        "guardrailintervened errortoxic"
    ),
    "error": (
        "error failed failure abort aborted cancelled canceled networkerror servererror internalerror "
        "insufficientsystemresource"
    ),
}
_ENDINGS: Final[Mapping[str, Ending]] = {word: ending for ending, words in _WORDS.items() for word in words.split()}
_NOTHING = frozenset({"", "null", "none"})
_SPELLING = re.compile(r"[^a-z]")


def said_reason(reason: Json) -> str | None:
    """The reason as a word; None where a server has not given one yet, and says so in one of several ways."""
    if isinstance(reason, dict):
        reason = reason.get("type") or reason.get("reason")
    if not isinstance(reason, str) or _squashed(reason) in _NOTHING:
        return None
    return reason


def is_failure(reason: str | None) -> bool:
    """Whether a reason says that the server gave up."""
    return _ENDINGS.get(_squashed(reason or "")) == "error"


def ending_of(reason: str | None, *, output_tokens: int | None = None, cap_tokens: int = 0) -> Ending:
    """What a reason means, `unknown` for a new one; a reply that used its whole output cap was cut off by it.

    `output_tokens` is the server's own count, None where it gave none.
    """
    ending = _ENDINGS.get(_squashed(reason or ""), "unknown")
    full = output_tokens is not None and output_tokens >= cap_tokens
    return "length" if full and ending not in ("error", "content_filter") else ending


def _squashed(reason: str) -> str:
    return _SPELLING.sub("", reason.lower())
