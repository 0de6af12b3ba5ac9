"""Skills: code that worked, kept by name; each save is a new version. This module only stores text and runs nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from rlm.core.exceptions import ConfigError, StoreError
from rlm.store.names import check_text, skill_name

if TYPE_CHECKING:
    import sqlite3

    from rlm.store.database import Database

MAX_CODE_CHARS = 200_000
MAX_DESCRIPTION_CHARS = 1_000
_MAX_VERSION = 10**9


class Skill(Struct, frozen=True, kw_only=True):
    """One version of a skill."""

    name: str
    description: str
    """What the skill does, in a sentence or two: models choose by it."""
    code: str
    """Python that defines functions; calling the skill calls the function of its name, or the only one."""
    test: str = ""
    """Python that must run without an error, with the skill in a variable of its name."""
    requires: list[str] = []
    """The modules that the code imports."""
    tested_in: str = ""
    """The name of the sandbox in which the skill was tested; empty if it was not."""
    version: int = 0
    """From 1; 0 before it is saved."""
    saved_at: float = 0.0


class SkillStore:
    """The skills in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, skill: Skill) -> Skill:
        """Save `skill` as the next version of its name, and return that version.

        Raises:
            ConfigError: the name can't name a skill, or a part is missing or too long.
            StoreError: the store can't be used.
        """
        check(skill)
        with self._database.transaction() as connection:
            latest = _latest(connection, skill.name)
            saved = msgspec.structs.replace(skill, version=latest + 1, saved_at=time.time())
            row = (saved.name, saved.version, saved.saved_at, msgspec.json.encode(saved))
            connection.execute("INSERT INTO skills VALUES (?, ?, ?, ?)", row)
        return saved

    def load(self, name: str, version: int | None = None) -> Skill:
        """The latest version of a skill, or the one of that number.

        Raises:
            ConfigError: there is no such skill or version.
            StoreError: the store can't be used.
        """
        name = skill_name(name)
        if version is not None and not 0 < version < _MAX_VERSION:
            raise ConfigError(f"a version is a number from 1 up, not {version}")
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT skill FROM skills WHERE name = ? AND version = ifnull(?, version)"
                " ORDER BY version DESC LIMIT 1",
                (name, version),
            ).fetchone()
        if row is None:
            which = f"skill {name!r}" if version is None else f"version {version} of skill {name!r}"
            raise ConfigError(f"there is no {which}\nrlm skill list shows those there are")
        return _decoded(row[0])

    def all(self) -> list[Skill]:
        """The latest version of every skill, by name."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT skill, max(version) FROM skills GROUP BY name ORDER BY name").fetchall()
        return [_decoded(encoded) for encoded, _version in rows]

    def delete(self, name: str, version: int | None = None) -> int:
        """Delete a skill, or one version of it; returns how many versions were deleted.

        Raises:
            ConfigError: there is no such skill or version.
        """
        self.load(name, version)
        with self._database.transaction() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            statement = "DELETE FROM skills WHERE name = ? AND version = ifnull(?, version)"
            return connection.execute(statement, (name, version)).rowcount


def parse_reference(reference: str) -> tuple[str, int | None]:
    """The name and version in `NAME` or `NAME@VERSION`.

    Raises:
        ConfigError: the reference has neither form.
    """
    name, at, version = reference.partition("@")
    if at and not (version.isascii() and version.isdecimal() and 0 < len(version) < 10):
        raise ConfigError(f"{reference[:80]!r}: the version after @ is a number, as in {name[:64]}@2")
    return skill_name(name), int(version) if at else None


def check(skill: Skill) -> None:
    """Check the name and the parts of a skill.

    Raises:
        ConfigError: the name can't name a skill, or a part is missing or too long.
    """
    skill_name(skill.name)
    caps = {"description": MAX_DESCRIPTION_CHARS, "code": MAX_CODE_CHARS, "test": MAX_CODE_CHARS}
    for part, cap in caps.items():
        check_text(getattr(skill, part), f"the {part} of skill {skill.name!r}", cap)
    if not skill.description.strip():
        raise ConfigError(f"skill {skill.name!r} needs a description: models choose by it")
    if not skill.code.strip():
        raise ConfigError(f"skill {skill.name!r} has no code")


def _latest(connection: sqlite3.Connection, name: str) -> int:
    """The highest version that is kept; a number is used again if the versions from it on were deleted."""
    (latest,) = connection.execute("SELECT ifnull(max(version), 0) FROM skills WHERE name = ?", (name,)).fetchone()
    return int(latest)


def _decoded(encoded: bytes) -> Skill:
    try:
        skill = msgspec.json.decode(encoded, type=Skill)
        check(skill)
    except (msgspec.DecodeError, TypeError, ConfigError) as error:
        raise StoreError(f"a skill can't be read: {error}") from error
    return skill
