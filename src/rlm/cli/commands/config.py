"""`rlm config`: look at the configuration as it is in force."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.config import Loaded
    from rlm.core.config.layers import Key


def show(
    origin: Annotated[bool, Option("--origin", help="Say where each value comes from.")] = False,
    as_json: Annotated[bool, Option("--json", help="One JSON object, by section.")] = False,
) -> int:
    """Show every setting as it is in force here, as an rlm.toml would say it."""
    from rlm.cli.console import warn, write_out
    from rlm.core.config import Config

    loaded = Config.load()
    for warning in loaded.warnings:
        warn(warning)
    write_out(_as_json(loaded, origin=origin) if as_json else "".join(_as_toml(loaded, origin=origin)))
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    key: Key
    name: str
    value: Any
    origin: str


def _as_toml(loaded: Loaded, *, origin: bool) -> Iterator[str]:
    from rlm.cli.reference import assignment

    for number, (section, values) in enumerate(_sections(loaded).items()):
        yield f"\n[{section}]\n" if number else f"[{section}]\n"
        for shown in values:
            source = f"  # {shown.origin}" if origin else ""
            yield f"{assignment(shown.key, shown.name, shown.value)}{source}\n"


def _as_json(loaded: Loaded, *, origin: bool) -> str:
    shown = {
        section: {one.name: {"value": one.value, "origin": one.origin} if origin else one.value for one in values}
        for section, values in _sections(loaded).items()
    }
    return json.dumps(shown, indent=2) + "\n"


def _sections(loaded: Loaded) -> dict[str, list[_Shown]]:
    """The settings by section; in a table, each entry counts as a setting."""
    import msgspec

    from rlm.core.config import SCHEMA

    values = msgspec.to_builtins(loaded.config)
    found: dict[str, list[_Shown]] = {}
    for key in SCHEMA:
        home = values if key.home == key.name and not key.table else values[key.home]
        for name in home if key.table else (key.name,):
            where = str(loaded.origins[f"{key.section}.{name}"])
            found.setdefault(key.section, []).append(_Shown(key=key, name=name, value=home[name], origin=where))
    return found
