"""The file in which the tokens of logins are kept: readable by its owner alone, or not read at all. Tokens are never
shown, logged or recorded."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from rlm.core.exceptions import ConfigError
from rlm.core.whole_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_BYTES = 1_000_000
_EARLY_S = 60.0
"""A token that expires within this many seconds counts as expired."""


class Token(Struct, frozen=True, kw_only=True):
    """A token of a login, and where it is renewed."""

    access_token: str
    refresh_token: str | None = None
    expires_at: float | None = None
    """When the token expires, in seconds since 1970; None if the login didn't say."""
    token_endpoint: str | None = None
    client_id: str | None = None

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at})"

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and time.time() > self.expires_at - _EARLY_S


class TokenFile:
    """A JSON file with one token, or with tokens by the address of their server under `servers`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, path: str, environ: Mapping[str, str]) -> TokenFile:
        """The file of that path; `~` is the home of that environment."""
        home = environ.get("HOME", "")
        return cls(Path(home + path[1:]) if path.startswith("~/") and home else Path(path))

    def read(self, server: str) -> Token | None:
        """The token for a server; None if the file has no such token.

        Raises:
            ConfigError: others can read the file, it isn't the user's, or it holds something else.
        """
        found = self._content()
        entry = found.get("servers", {}).get(server, found if "access_token" in found else None)
        if entry is None:
            return None
        try:
            return msgspec.convert(entry, Token)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{self.path} doesn't hold a readable token: log in again") from error

    def write(self, server: str, token: Token) -> None:
        """Store the token for a server, beside what else the file has.

        Raises:
            ConfigError: the file can't be written, or must not be read.
        """
        content = self._content()
        kept: dict[str, Any] = {name: value for name, value in msgspec.to_builtins(token).items() if value is not None}
        content["servers"] = {**content.get("servers", {}), server: kept}
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self.path, msgspec.json.encode(content))
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}; the token was not stored") from error

    def _content(self) -> dict[str, Any]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            self._check(os.fstat(file.fileno()))
            text = file.read(FILE_BYTES)
        try:
            content = msgspec.json.decode(text, type=dict[str, Any])
            return {**content, "servers": dict(content.get("servers") or {})}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, ValueError) as error:
            raise ConfigError(f"{self.path} is not a file of tokens: move it away and log in again") from error

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise ConfigError(f"{self.path} is not a file of your own: tokens are not read from it")
        if found.st_mode & 0o077:
            raise ConfigError(f"others can read {self.path}: chmod 600 {self.path}, and log in again if they may have")
