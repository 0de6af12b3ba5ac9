"""Tells from the name beside a value whether it is a secret: `db_password`, `apiKey`, `X-Auth-Token`, not `token_type`.

The last word of a name decides, so that fields about a secret (its type, its length, its file) are left alone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NAME = re.compile(r"-{0,2}(?:[a-z]+(?:[_-][a-z]+)+|[A-Z]+(?:[_-][A-Z]+)+|[a-z]+(?:[A-Z][a-z]+)+)")
_TELLING = re.compile(
    r"(?i)auth|bearer|contrase|cred|jwt|ke[yn]|masterauth|p(?:a(?:ss|t)|in|s|w)|se(?:cret|nha|ss)|sid|token|wachtw"
)
"""Matches a part of every name that calls its value a secret, and of most other names none."""
_SPLIT = re.compile(r"[^a-z]+")
_ASIDE: Final = frozenset((
    "value", "val", "prod", "production", "dev", "development", "test", "staging", "stage", "live", "old", "new",
    "current", "next", "default", "primary", "base", "plain", "raw", "encoded", "base64", "b64", "text", "string",
    "str", "main", "temp", "tmp", "backup", "alt",
))  # fmt: skip
"""Words that may follow the one that decides."""

_PASSWORDS: Final = (
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "pswd",
    "passwort",
    "kennwort",
    "senha",
    "wachtwoord",
    "contrasena",
)
_PASSWORD_WORDS: Final = frozenset(("pass", "pw", "psk", "pword", "userpass", "dbpass"))
_PASSWORD_OF = re.compile(
    r"(?:admin|become|bind|db|ftp|http|key|login|mail|master|net|proxy|require|root|smtp|ssh|store|sudo|user|web)"
    r"(?:pass|pw)|masterauth"
)
"""Matches the names of settings for a password; `bypass` and `compass` are none."""
_KEY_OF: Final = frozenset((
    "api", "access", "secret", "private", "encryption", "signing", "auth", "account", "shared", "app", "client",
    "service", "license", "storage", "subscription", "master", "admin", "hmac", "jwt", "application", "session",
    "webhook", "crypto", "aes", "rsa", "server", "root", "deploy", "security", "write", "team", "functions", "host",
))  # fmt: skip
_KEY_WORDS: Final = tuple(
    f"{kind}key"
    for kind in ("api", "access", "secret", "private", "account", "encryption", "signing", "auth", "master")
)
_NO_KEY_OF: Final = frozenset((
    "primary", "foreign", "public", "partition", "cache", "sort", "hot", "row", "column", "index", "object", "map",
    "dict", "group", "unique", "tab", "enter", "arrow", "shift", "natural", "surrogate", "range", "hash", "s3",
    "blob", "file", "i18n", "translation", "message", "state", "query", "storage_key", "feature", "gpg",
))  # fmt: skip
_NO_TOKEN_OF: Final = frozenset(("next", "page", "continuation", "pagination", "cursor", "cancellation", "stop", "pad"))
_OTHERS: Final = {
    "pin": "PIN",
    "credential": "CREDENTIALS",
    "credentials": "CREDENTIALS",
    "creds": "CREDENTIALS",
    "auth": "CREDENTIALS",
    "authorization": "CREDENTIALS",
    "sid": "SESSION",
    "sessid": "SESSION",
    "phpsessid": "SESSION",
    "jsessionid": "SESSION",
    "sessionid": "SESSION",
    "session": "SESSION",
    "bearer": "TOKEN",
    "pat": "TOKEN",
}

STRICT: Final = frozenset(("CREDENTIALS", "KEY", "SESSION"))
"""Families whose values are secrets only if they look random."""


NAME_CHARS: Final = 40
"""The most characters of a name."""


@lru_cache(maxsize=4096)
def family_of(name: str) -> str | None:
    """The family of a value of that name; None if the name doesn't call it a secret."""
    if not _TELLING.search(name):
        return None
    words = _words(name)
    if not words:
        return None
    joined, last, before = "_".join(words), words[-1], words[-2] if len(words) > 1 else ""
    if last in _PASSWORD_WORDS or last.endswith(_PASSWORDS) or _PASSWORD_OF.fullmatch(last):
        return "PASSWORD"
    if joined == "password_hash" or joined.endswith("_password_hash"):
        return "PASSWORD_HASH"
    if last == "token" and before in _NO_TOKEN_OF:
        return None
    if last.endswith(("token", "jwt")):
        return "AWS_SESSION_TOKEN" if joined.endswith("aws_session_token") else "TOKEN"
    if last.endswith("secret"):
        return "SECRET"
    if last in ("key", "keys") or last.endswith(_KEY_WORDS):
        return _key_family(joined, last, before)
    return _other_family(joined, last)


def _other_family(joined: str, last: str) -> str | None:
    """The family by names that are told by two words, or by one of few."""
    if joined.endswith("key_data"):  # of a cluster's configuration
        return "PRIVATE_KEY"
    if joined.endswith("pass_phrase"):
        return "PASSWORD"
    return "SESSION" if joined.endswith("session_id") else _OTHERS.get(last)


def names_one(value: str) -> bool:
    """Whether a value is itself the name of a secret, like a variable's: `DB_PASSWORD`, `api-key`."""
    return len(value) < NAME_CHARS and _NAME.fullmatch(value) is not None and family_of(value) is not None


def says_no_key(word: str) -> bool:
    """Whether `word` before "key" says that the key is not a secret: `cache key`, `primary key`."""
    return word in _NO_KEY_OF


def _key_family(joined: str, last: str, before: str) -> str | None:
    if joined.endswith(("secret_access_key", "aws_secret_key", "secretaccesskey")):
        return "AWS_SECRET_KEY"
    if "public" in joined or before in _NO_KEY_OF:
        return None
    if joined.endswith(("private_key", "privatekey")):
        return "PRIVATE_KEY"
    if before in _KEY_OF or last.endswith(_KEY_WORDS):
        return "SECRET" if before == "secret" or last == "secretkey" else "API_KEY"
    return "KEY" if last == "key" else None


def _words(name: str) -> list[str]:
    words = [word for word in _SPLIT.split(_CAMEL.sub("_", name).lower().replace("ñ", "n")) if word]
    while len(words) > 1 and words[-1] in _ASIDE:
        words.pop()
    return words
