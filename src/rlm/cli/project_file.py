"""Writes settings into the project's `rlm.toml`, keeping everything else in it as it stands."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.core.whole_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping


def save_settings(settings: Mapping[str, Any]) -> Path:
    """Set these keys in `[rlm]` of the project file, or of a new one in the working directory; returns its path.

    Raises:
        ConfigError: the file can't be read or written, or isn't TOML.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    from rlm.core.config.files import PROJECT_FILE, find_project_file
    from rlm.core.exceptions import ConfigError

    path = find_project_file(Path.cwd()) or Path.cwd() / PROJECT_FILE
    was_trusted = not path.exists() or _needs_no_trust(path)
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
        table: Any = document.setdefault("rlm", tomlkit.table())
        table.update(settings)
        write_settings(path, tomlkit.dumps(document))
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ConfigError(f"{path}: the settings could not be saved: {error}") from error
    if was_trusted:
        trust_own(path)
    return path


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
