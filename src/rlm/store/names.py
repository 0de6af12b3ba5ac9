"""What sessions and skills may be called: plain ASCII, so that no two names look alike and no name is a path."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata

from rlm.core.exceptions import ConfigError

MAX_CHARS = 64
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_SKILL = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_TAKEN = frozenset({
    "skills", "load_skill", "context", "requires", "fs", "code", "transform", "git", "tables", "llm_query", "llm_map",
    "llm_query_batched", "chunks", "rlm_query", "rlm_query_batched", "save_artifact", "history", "__name__",
}) | frozenset(dir(builtins))  # fmt: skip
"""Names that cells have already, which a skill would hide."""


def session_name(name: object) -> str:
    """Return `name`, which can name a session.

    Raises:
        ConfigError: it can't name one; the message says why.
    """
    return _checked(name, "a session", _SESSION, "letters, digits, '-', '_' and '.', a letter or digit first")


def skill_name(name: object) -> str:
    """Return `name`, which can name a skill and is an identifier in cells.

    Raises:
        ConfigError: it can't name one; the message says why.
    """
    checked = _checked(name, "a skill", _SKILL, "lower-case letters, digits and '_', a letter first")
    if keyword.iskeyword(checked) or keyword.issoftkeyword(checked) or checked in _TAKEN:
        raise ConfigError(f"{checked!r} can't name a skill: the word has a meaning of its own in cells")
    return checked


def check_text(text: object, what: str, max_chars: int) -> None:
    """Check that `text` is a string that UTF-8 can carry, of at most `max_chars` characters; messages call it `what`.

    Raises:
        ConfigError: it isn't.
    """
    if not isinstance(text, str):
        raise ConfigError(f"{what} must be text, not a {type(text).__name__}")
    if len(text) > max_chars:
        raise ConfigError(f"{what} has {len(text):,} characters; at most {max_chars:,} are kept")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{what} is not valid text: {error.reason} at character {error.start + 1:,}") from error


def _checked(name: object, what: str, pattern: re.Pattern[str], wanted: str) -> str:
    if isinstance(name, str) and len(name) <= MAX_CHARS and pattern.fullmatch(name):
        return name
    shown = ascii(name)[:80] if isinstance(name, str) else f"a {type(name).__name__}"
    foreign = next((char for char in name if not char.isascii()), None) if isinstance(name, str) else None
    why = "" if foreign is None else f" (it has {foreign!a}, {unicodedata.name(foreign, 'a character without a name')})"
    raise ConfigError(f"{shown} can't name {what}{why}\na name has 1 to {MAX_CHARS} {wanted}")
