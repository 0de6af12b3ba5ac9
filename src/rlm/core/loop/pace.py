"""How fast a model has shown itself in one completion, so that its last answer is given the time that it takes, and is
no longer than that time allows."""

from __future__ import annotations

import sys

REPLIES = 2
"""A landing may take so many times as long as the slowest reply so far."""
LEAST_TOKENS = 128
"""A landing may always have so many tokens."""
SURELY = 0.8
"""The share of what the time allows that is asked for."""
_AT_ONCE_S = 0.005
"""A faster reply comes from a record or a script, and says nothing of the model."""


class Pace:
    """Of the replies that were heard; without any, nothing is known."""

    def __init__(self) -> None:
        self._slowest_s = 0.0
        self._slowest_tokens = 0
        self._token_s: float | None = None
        """The time of a token in the fastest reply."""

    def heard(self, reply_s: float, output_tokens: int) -> None:
        """Take note that a reply of so many tokens took `reply_s` seconds."""
        if reply_s < _AT_ONCE_S or output_tokens <= 0:
            return
        if reply_s > self._slowest_s:
            self._slowest_s, self._slowest_tokens = reply_s, output_tokens
        token_s = reply_s / output_tokens
        self._token_s = token_s if self._token_s is None else min(self._token_s, token_s)

    @property
    def landing_s(self) -> float:
        """The seconds that a landing may well take."""
        return REPLIES * self._slowest_s

    def tokens_in(self, seconds: float) -> int:
        """How many tokens a reply of that time may have: what is left after a prompt, at the speed shown."""
        if self._token_s is None:
            return sys.maxsize
        prompt_s = max(0.0, self._slowest_s - self._slowest_tokens * self._token_s)
        return max(LEAST_TOKENS, int(SURELY * (seconds - prompt_s) / self._token_s))
