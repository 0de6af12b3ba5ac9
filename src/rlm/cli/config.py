"""`rlm config`: look at the configuration as it is in force."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.config import Loaded


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


def _as_toml(loaded: Loaded, *, origin: bool) -> Iterator[str]:
    from rlm.cli.reference import toml_key, toml_value

    first = True
    for section, values in _sections(loaded).items():
        yield f"{'' if first else chr(10)}[{section}]\n"
        first = False
        for name, value, where in values:
            source = f"  # {where}" if origin else ""
            if value is None:
                yield f'{toml_key(name)} = "none"{source}\n'
            else:
                yield f"{toml_key(name)} = {toml_value(value)}{source}\n"


def _as_json(loaded: Loaded, *, origin: bool) -> str:
    shown: dict[str, Any] = {}
    for section, values in _sections(loaded).items():
        shown[section] = {name: {"value": value, "origin": where} if origin else value for name, value, where in values}
    return json.dumps(shown, indent=2) + "\n"


def _sections(loaded: Loaded) -> dict[str, list[tuple[str, Any, str]]]:
    """Every setting as name, value and origin, by section; a table's entries are its settings."""
    import msgspec

    from rlm.core.config import SCHEMA

    values = msgspec.to_builtins(loaded.config)
    found: dict[str, list[tuple[str, Any, str]]] = {}
    for key in SCHEMA:
        if key.table:
            entries = values[key.home].items()
            rows = [(name, value, str(loaded.origins[f"{key.section}.{name}"])) for name, value in entries]
        else:
            home = values if key.home == key.name else values[key.home]
            rows = [(key.name, home[key.name], str(loaded.origins[key.label]))]
        if rows:
            found.setdefault(key.section, []).extend(rows)
    return found
