"""Writes settings into the project's `rlm.toml`, keeping everything else in it as it stands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def save_settings(settings: Mapping[str, Any]) -> Path:
    """Set these in `[rlm]` of the project file, or of a new one in the working directory; returns its path.

    Raises:
        ConfigError: the file can't be read or written, or is no TOML.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    from rlm.core.config_files import PROJECT_FILE, find_project_file
    from rlm.core.exceptions import ConfigError

    path = find_project_file(Path.cwd()) or Path.cwd() / PROJECT_FILE
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
        table: Any = document.setdefault("rlm", tomlkit.table())
        table.update(settings)
        replace_file(path, tomlkit.dumps(document))
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ConfigError(f"{path}: the settings could not be saved: {error}") from error
    return path


def replace_file(path: Path, text: str) -> None:
    """Write a file whole or not at all, with the mode that it had. Raises:
    OSError: it can't be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        if path.exists():
            part.chmod(path.stat().st_mode & 0o777)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
