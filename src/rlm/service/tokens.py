"""Who may use the service, and what each may do: the owner, by a token in a file that only they can read, and others by
tokens that the owner made and that are kept hashed."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from rlm.core.exceptions import ConfigError
from rlm.core.fields import AtLeastOne, Usd  # noqa: TC001 (msgspec reads them at run time)
from rlm.core.whole_files import replace_file
from rlm.service.state import TokenRow

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.service.state import ServiceState

OWNER = "owner"
"""The name of the one whose service it is."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)


class Rights(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token may do."""

    models: tuple[str, ...] | None = None
    """The models that its runs may use, the first by default; None: those of the configuration alone."""
    folders: tuple[str, ...] = ()
    """Folders of the server that its runs may have as context."""
    cost_budget_usd_per_day: Usd | None = None
    """What its runs may cost in a day (UTC), all together."""
    max_runs: AtLeastOne | None = None
    """How many of its runs may be in progress or wait, at one time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever asks something of the service."""

    name: str
    rights: Rights

    @property
    def is_owner(self) -> bool:
        """Whether it is the one whose service it is."""
        return self.name == OWNER


class Doorkeeper:
    """Knows tokens."""

    def __init__(self, state: ServiceState, owner_token: str, folders: tuple[str, ...]) -> None:
        """`folders` are those that the owner's runs may have as context."""
        self._state = state
        self._owner = digest_of(owner_token)
        self._owner_rights = Rights(folders=folders)

    def caller(self, token: str) -> Caller | None:
        """The one whose token it is; None if it is nobody's. Takes as long whether or not a token is nearly right."""
        given = digest_of(token)
        found: Caller | None = None
        if hmac.compare_digest(given, self._owner):
            found = Caller(name=OWNER, rights=self._owner_rights)
        for row in self._state.tokens():
            if hmac.compare_digest(given, row.digest) and row.revoked_at is None:
                found = Caller(name=row.name, rights=msgspec.json.decode(row.rights, type=Rights))
        return found


def digest_of(token: str) -> str:
    """The digest by which a token is known; it has 256 random bits, so that no slow one is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def token_path(folder: Path) -> Path:
    """Where the owner's token lies."""
    return folder / "token"


def owner_token(folder: Path) -> str:
    """The owner's token, made at first use in a file that only they can read.

    Raises:
        OSError: it can't be read or made.
    """
    path = token_path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        replace_file(path, f"{_new()}\n".encode())
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            os.fchmod(file.fileno(), 0o600)
        return file.read(1_000).decode().strip()


def add_token(state: ServiceState, name: str, rights: Rights) -> str:
    """Make a token and keep its digest; it is returned this once.

    Raises:
        ConfigError: the name can't be one, or is taken.
    """
    if not _NAME.fullmatch(name) or name == OWNER:
        raise ConfigError(f"{name!r} can't name a token: lower-case letters, digits, '-' and '_', 64 at most")
    token = _new()
    row = TokenRow(
        name=name,
        digest=digest_of(token),
        created_at=time.time(),
        revoked_at=None,
        rights=msgspec.json.encode(rights),
    )
    if not state.add_token(row):
        raise ConfigError(f"there is, or was, a token {name!r}: its runs are its own, so choose another name")
    return token


def _new() -> str:
    return f"rlm-{secrets.token_hex(32)}"
