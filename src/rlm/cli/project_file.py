"""Writes settings into the project's `rlm.toml` or the user's own file, keeping everything else in it as it stands."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.core.whole_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.core.config.layers import Key, Setting


def save_settings(settings: Mapping[str, Any]) -> Path:
    """Set these keys in `[rlm]` of the project file, or of a new one in the working directory; returns its path.

    Raises:
        ConfigError: the file can't be read or written, or isn't TOML.
    """
    from rlm.core.config.files import PROJECT_FILE, find_project_file

    path = find_project_file(Path.cwd()) or Path.cwd() / PROJECT_FILE
    was_trusted = not path.exists() or _needs_no_trust(path)
    with _edited(path) as document:
        _section(document, "rlm").update(settings)
    if was_trusted:
        trust_own(path)
    return path


def set_default(setting: Setting) -> Path:
    """Set one key in the user's own file; returns its path.

    Raises:
        ConfigError: the file can't be read or written, or isn't TOML; or the user has no home.
    """
    import msgspec

    path, key = _user_file(), setting.key
    value = msgspec.to_builtins(setting.value)
    if isinstance(value, dict):
        value = {name: item for name, item in value.items() if item is not None}
    with _edited(path) as document:
        _section(document, key.section)[key.name] = "none" if value is None else value
    return path


def unset_default(key: Key) -> Path | None:
    """Take one key out of the user's own file; returns its path, or None if the key isn't set there.

    Raises:
        ConfigError: as `set_default`.
    """
    path = _user_file()
    with _edited(path) as document:
        section = document.get(key.section, {})
        if key.name not in section:
            return None
        del section[key.name]
    return path


def _user_file() -> Path:
    from rlm.core.config.files import user_config_path
    from rlm.core.exceptions import ConfigError

    path = user_config_path(os.environ)
    if path is None:
        raise ConfigError("there is no home for the user's settings: set HOME or XDG_CONFIG_HOME")
    return path


@contextmanager
def _edited(path: Path) -> Iterator[Any]:
    """The document of a file, or a new one; written back where it was changed.

    Raises:
        ConfigError: the file can't be read or written, or isn't TOML.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    from rlm.core.exceptions import ConfigError

    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
        before = tomlkit.dumps(document)
        yield document
        if (text := tomlkit.dumps(document)) != before:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_settings(path, text)
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ConfigError(f"{path}: the settings could not be saved: {error}") from error


def _section(document: Any, name: str) -> Any:
    """A section of a document, made if it isn't there."""
    import tomlkit

    return document.setdefault(name, tomlkit.table())


def trust_own(path: Path) -> None:
    """Trust a project file as `rlm` has just written it, where there is a place for the record of that."""
    from rlm.core.config.files import read_config_file
    from rlm.core.config.trust import TrustRecord
    from rlm.core.exceptions import ConfigError

    with suppress(ConfigError):
        TrustRecord.of(os.environ).add(read_config_file(path))


def _needs_no_trust(path: Path) -> bool:
    """Whether the user trusts the file as it is, or it asks for nothing that needs trust."""
    from rlm.core.config import asked_of_user
    from rlm.core.config.files import read_config_file
    from rlm.core.config.trust import TrustRecord

    file = read_config_file(path)
    return not asked_of_user(file, os.environ) or TrustRecord.of(os.environ).holds(file)


def write_settings(path: Path, text: str) -> None:
    """Write a file whole or not at all, with the mode that it had. Raises:
    OSError: it can't be written.
    """
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    replace_file(path, text.encode(), mode=mode)
