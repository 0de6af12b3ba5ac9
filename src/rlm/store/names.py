"""What sessions and skills may be called: plain ASCII, so that no two names look alike and none is a path."""

from __future__ import annotations

import keyword
import re
import unicodedata

from rlm.core.exceptions import ConfigError

MAX_CHARS = 64
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_SKILL = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_TAKEN = frozenset({"skills", "load_skill", "context", "requires", "fs", "code", "transform", "git"})


def session_name(name: object) -> str:
    """`name` if it can name a session.

    Raises:
        ConfigError: it can't; says why.
    """
    return _checked(name, "a session", _SESSION, "letters, digits, '-', '_' and '.', a letter or digit first")


def skill_name(name: object) -> str:
    """`name` if it can name a skill, which cells then use as an identifier.

    Raises:
        ConfigError: it can't; says why.
    """
    checked = _checked(name, "a skill", _SKILL, "small letters, digits and '_', a letter first")
    if keyword.iskeyword(checked) or keyword.issoftkeyword(checked) or checked in _TAKEN:
        raise ConfigError(f"{checked!r} can't name a skill: the word has a meaning of its own in cells")
    return checked


def _checked(name: object, what: str, pattern: re.Pattern[str], wanted: str) -> str:
    if isinstance(name, str) and len(name) <= MAX_CHARS and pattern.fullmatch(name):
        return name
    shown = ascii(name)[:80] if isinstance(name, str) else f"a {type(name).__name__}"
    foreign = next((char for char in name if not char.isascii()), None) if isinstance(name, str) else None
    why = "" if foreign is None else f" (it has {foreign!a}, {unicodedata.name(foreign, 'a character without a name')})"
    raise ConfigError(f"{shown} can't name {what}{why}\na name has 1 to {MAX_CHARS} {wanted}")
