"""What a project file may set only once its user has said `rlm trust`, and the record of what was trusted.

A cloned repository brings its `rlm.toml` along. Untrusted, it may choose models and lower caps, but neither run a
command, nor send a key or a file elsewhere, nor write outside of its folder, nor lift a cap or a wall above what the
user's own configuration says, or else the default. Trust is in the content: the file's SHA-256 under
its absolute path, kept in the user's state folder, so that a changed file asks again. `GUARDED` goes by name wherever a
key stands, known to this version or not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlm.core import plugins
from rlm.core.config.files import user_folder
from rlm.core.config.layers import note
from rlm.core.exceptions import ConfigError, UntrustedConfigError
from rlm.core.fields import amount
from rlm.core.texts import escape_bytes
from rlm.core.whole_files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rlm.core.config.files import ConfigFile
    from rlm.core.config.layers import Layers
    from rlm.core.fields import Unit
    from rlm.core.types import Json

GUARDED = frozenset(
    {"mcp_servers", "hooks", "cli", "plugins", "base_url", "allowed_paths", "allowed_imports", "allow_unconfined"}
    | {"prices", "tables", "helper_rights", "session", "store_path", "guest_tools", "service"}
    | {"e2b", "ssh"}
)
"""Keys and sections that need trust wherever they stand."""
GUARDED_IN = frozenset(
    {("docker", "runtime"), ("wasm", "pyodide_dir"), ("claude_cli", "command"), ("claude_cli", "environment")}
)
"""Keys that need it in one section."""
REMOTE = frozenset({"e2b", "ssh"})
"""Sandboxes on other machines: what names one sends data there."""
_WALLS = frozenset({"policy", "mask"})
"""Keys that need it to be turned off, whatever the user has."""
_NAMING: Mapping[str, plugins.Group] = {
    "environment": "rlm.sandboxes",
    **dict.fromkeys(("model", "sub_model", "allowed_models"), "rlm.backends"),
}
"""Keys that need it to name a plug-in, which is code of another package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedKey:
    """A key of a file that needs trust."""

    name: str
    """With its sections, as `local.allowed_imports`."""
    value: Json
    ceiling: Any = None
    """What the user allows at most; None where the key needs trust for what it is, not for how much it asks."""

    def __str__(self) -> str:
        if self.ceiling is None:
            return self.name
        return f"{self.name} = {self.value!r} where your own configuration, or else the default, allows {self.most}"

    @property
    def most(self) -> str:
        """The ceiling in words; empty where there is none."""
        if self.ceiling is None:
            return ""
        return f"{self.ceiling:,}" if isinstance(self.ceiling, int) else str(self.ceiling)


def guarded_keys(table: Mapping[str, Json], above: tuple[str, ...] = ()) -> Iterator[GuardedKey]:
    """Everything in `table` that needs trust; a section without a key sets nothing."""
    for key, value in table.items():
        path = (*above, key)
        if value == {}:
            continue
        if key in GUARDED or path[-2:] in GUARDED_IN or _reaches_out(key, value) or names_plugin(key, value):
            yield GuardedKey(name=".".join(path), value=value)
        elif isinstance(value, dict):
            yield from guarded_keys(value, path)


def asked_by(file: ConfigFile, user: Layers[Any]) -> list[GuardedKey]:
    """All in a project file that needs trust; `user` has what the user's own configuration sets."""
    guarded = list(guarded_keys(file.table))
    known = {key.name for key in guarded}
    return [*guarded, *(key for key in _lifted(file.table, user) if key.name not in known)]


def _lifted(table: Mapping[str, Json], user: Layers[Any]) -> Iterator[GuardedKey]:
    """The caps and walls that the user has lower, or stronger."""
    for section, content in table.items():
        for name, value in content.items() if isinstance(content, dict) else ():
            key = user.schema.find(section, name)
            if key is not None and not key.table and is_lifted(key.type, value, user.value(key)):
                yield GuardedKey(name=key.label, value=value, ceiling=user.value(key))


def is_lifted(kind: Any, value: Json, ceiling: Any) -> bool:
    """Whether a value of a setting of this type is a higher cap, or a weaker wall, than `ceiling`; "none" is no cap."""
    if walls := note(kind, "from_strongest"):
        return value in walls and walls.index(value) > walls.index(ceiling)
    if not note(kind, "cap") or ceiling is None:
        return False
    unit = note(kind, "unit")
    asked = _amount(value, unit)
    return asked is not None and asked > (_amount(ceiling, unit) or 0)


def _amount(value: Any, unit: Unit | None) -> float | None:
    """How much a cap allows; None for a value that no cap can have, which is refused where it is read."""
    if isinstance(value, str):
        if value.strip().lower() == "none":
            return math.inf
        try:
            return float(value) if unit is None else amount(value, unit)
        except (ValueError, OverflowError):
            return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None


def names_plugin(key: str, value: Json) -> bool:
    """Whether a value names a sandbox, or the provider of a model, that another package adds."""
    texts = _texts(value) if key in _NAMING else []
    return bool(texts) and not {text.partition("/")[0] for text in texts}.isdisjoint(plugins.names(_NAMING[key]))


def require_trust(file: ConfigFile, asked: Sequence[GuardedKey], environ: Mapping[str, str]) -> None:
    """Let a project file pass that asks for nothing guarded, or that the user trusts as it is now; `asked` is what
    `asked_by` finds in it.

    Raises:
        UntrustedConfigError: it is neither; names the keys and the way to allow them.
    """
    if not asked or TrustRecord.of(environ).holds(file):
        return
    said = (", " if all(key.ceiling is None for key in asked) else "; ").join(map(str, asked))
    raise UntrustedConfigError(
        f"{file.path} sets {said}, which a project file may set only once you trust it\n"
        f"read the file; if you agree with it: rlm trust {file.path}"
    )


@dataclass(frozen=True, slots=True)
class TrustRecord:
    """One small file per trusted path: written whole or not at all, with no shared list to fight over."""

    folder: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> TrustRecord:
        """The record of the user whose environment this is.

        Raises:
            ConfigError: there is no place for it.
        """
        state = user_folder(environ, "XDG_STATE_HOME", ".local/state")
        if state is None:
            raise ConfigError("there is no home for the record of trusted files: set HOME or XDG_STATE_HOME")
        return cls(state / "trust")

    def holds(self, file: ConfigFile) -> bool:
        """Whether `file` is trusted with exactly this content; a record that can't be read trusts nothing."""
        try:
            entry = json.loads(self._entry(file.path).read_bytes())
        except (OSError, ValueError):
            return False
        return bool(entry == _facts(file))

    def add(self, file: ConfigFile) -> None:
        """Trust `file` as it was read.

        Raises:
            ConfigError: the record can't be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._entry(file.path), json.dumps(_facts(file)).encode())
        except OSError as error:
            raise ConfigError(f"{self.folder}: {error.strerror}; nothing is trusted") from error

    def remove(self, path: Path) -> bool:
        """Trust `path` no more; False if it wasn't.

        Raises:
            ConfigError: the record can't be changed.
        """
        try:
            self._entry(path).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ConfigError(f"{self._entry(path)}: {error.strerror}; {path} is still trusted") from error
        return True

    def _entry(self, path: Path) -> Path:
        return self.folder / f"{hashlib.sha256(os.fsencode(_absolute(path))).hexdigest()}.json"


def _reaches_out(key: str, value: Json) -> bool:
    """Whether a value names a server or a folder elsewhere, or takes a wall away; litellm takes URLs as model names."""
    if key in _WALLS and value == "off":
        return True
    if key == "environment" and value in REMOTE:
        return True
    return any("://" in text or (key == "log_dir" and _leads_out(text)) for text in _texts(value))


def _texts(value: Json) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def _leads_out(path: str) -> bool:
    return path.startswith(("/", "~")) or os.path.normpath(path).startswith(os.pardir)


def _absolute(path: Path) -> str:
    return os.path.realpath(path)  # never raises, where Path.resolve does for a loop of links


def _facts(file: ConfigFile) -> dict[str, str]:
    return {"path": escape_bytes(os.fsencode(_absolute(file.path))), "sha256": file.sha256}
