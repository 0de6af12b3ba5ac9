"""`rlm config`: look at the configuration as it is in force, and set the user's defaults."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from typer import Argument, Option

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


Name: TypeAlias = Annotated[
    str, Argument(metavar="KEY", help="A setting: model, timeout_s, local.memory, prices.openai/my-model.")
]


def get(key: Name) -> int:
    """Print one setting as it is in force here."""
    from rlm.cli.console import warn, write_out
    from rlm.cli.reference import toml_value
    from rlm.core.config import SCHEMA, Config
    from rlm.core.exceptions import ConfigError

    wanted, loaded = SCHEMA.named(key), Config.load()
    for warning in loaded.warnings:
        warn(warning)
    found = next((one for one in _sections(loaded).get(wanted.section, []) if one.name == wanted.name), None)
    if found is None:
        raise ConfigError(f"{key} isn't set")
    shown = "none" if found.value is None else found.value
    write_out(f"{shown if isinstance(shown, str) else toml_value(shown)}\n")
    return 0


def set_key(
    key: Name,
    value: Annotated[str, Argument(metavar="VALUE", help="As an option takes it: openai/gpt-5, 5m, 2M, none.")],
) -> int:
    """Set a default of yours, for all projects: rlm config set model openai/gpt-5.

    It goes into your own configuration file, whose comments stay. A project's rlm.toml, RLM_* variables and options
    have precedence over it.
    """
    import os

    from rlm.cli.console import say, warn
    from rlm.cli.project_file import set_default
    from rlm.core.config import SCHEMA, Config
    from rlm.core.config.layers import Layers

    setting = Layers(SCHEMA, home=os.environ.get("HOME", "")).read(key, value)
    say(f"set in {set_default(setting)}")
    origin = Config.load().origins.get(setting.key.label)
    if origin is not None and origin.source not in ("user", "default"):
        warn(f"here {setting.key.name} is set by the {origin}, which has precedence")
    return 0


def unset(key: Name) -> int:
    """Take a default of yours back."""
    from rlm.cli.console import say
    from rlm.cli.project_file import unset_default
    from rlm.core.config import SCHEMA

    path = unset_default(SCHEMA.named(key))
    say(f"{key} isn't set in your configuration" if path is None else f"unset in {path}")
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
