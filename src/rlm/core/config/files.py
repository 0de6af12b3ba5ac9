"""Finds and reads the configuration files. A project file may be anyone's: it is read once, as bytes of a regular
file of bounded size, and everything said of it later (its hash, its keys) is said of those bytes."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tomli

from rlm.core.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.types import Json

PROJECT_FILE = "rlm.toml"
MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """One configuration file as it was read."""

    path: Path
    sha256: str
    table: Mapping[str, Json]
    content: bytes = field(default=b"", repr=False)
    """What it says, as it was read."""


def find_project_file(cwd: Path) -> Path | None:
    """The nearest `rlm.toml`: in `cwd`, else in a parent, as far as the root of the git checkout that `cwd` is in.

    Outside a checkout only `cwd` counts, so that nobody can plant a file in a shared parent such as /tmp; nor does a
    checkout count that is somebody else's.
    """
    candidates = (folder / PROJECT_FILE for folder in _folders(cwd))
    return next((path for path in candidates if os.path.lexists(path)), None)


def project_root(cwd: Path) -> Path:
    """The root of the git checkout that `cwd` is in, or else `cwd` itself."""
    return _folders(cwd)[-1]


def _folders(cwd: Path) -> list[Path]:
    """The folders of the project, from `cwd` up to its root."""
    folders = [cwd, *cwd.parents]
    root = next((index for index, folder in enumerate(folders) if (folder / ".git").exists()), 0)
    if root and not _is_own(folders[root] / ".git", cwd):
        root = 0
    return folders[: root + 1]


def _is_own(path: Path, cwd: Path) -> bool:
    """Whether `path` is this user's, or the owner's of `cwd`: in a container, folders of the host are another's."""
    try:
        return path.lstat().st_uid in (os.geteuid(), cwd.stat().st_uid)
    except OSError:
        return False


def user_folder(environ: Mapping[str, str], variable: str, fallback: str) -> Path | None:
    """The user's own folder for rlm under an XDG base, such as `XDG_CONFIG_HOME`; None where there is no home."""
    base = environ.get(variable, "")
    if Path(base).is_absolute():
        return Path(base) / "rlm"
    home = environ.get("HOME", "")
    return Path(home) / fallback / "rlm" if Path(home).is_absolute() else None


def user_config_path(environ: Mapping[str, str]) -> Path | None:
    """Where the user's own configuration is, or would be."""
    folder = user_folder(environ, "XDG_CONFIG_HOME", ".config")
    return None if folder is None else folder / "config.toml"


def read_config_file(path: Path) -> ConfigFile:
    """Read one file, which is TOML or, with that suffix, JSON.

    Raises:
        ConfigError: it can't be read, or is not what its suffix says; says the line and column.
    """
    content = _content(path)
    try:
        table = _json_object(path, content) if path.suffix == ".json" else tomli.loads(content.decode())
    except tomli.TOMLDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8, which it has to be") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    return ConfigFile(path=path, sha256=hashlib.sha256(content).hexdigest(), table=table, content=content)


def _json_object(path: Path, content: bytes) -> dict[str, Json]:
    try:
        value = json.loads(content.decode())
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a JSON object, not {type(value).__name__}")
    return value


def _content(path: Path) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{path}: not a regular file")
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES >> 20} MiB, which no configuration is")
    return content
