"""Lays settings over each other: which keys a configuration has, what each may hold, which layer gave it, and what is
said when something doesn't fit. It works on any Struct and knows no setting by name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, get_args, get_origin

import msgspec
import tomli
from msgspec.structs import FieldInfo, fields

from rlm.core.exceptions import ConfigError
from rlm.core.fields import amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from rlm.core.config.files import ConfigFile

S = TypeVar("S", bound=msgspec.Struct)
Source: TypeAlias = Literal["default", "user", "project", "environment", "command line"]

ENV_PREFIX = "RLM_"
SECRETS = frozenset({"RLM_RECEIPT_KEY", "RLM_MCP_TOKEN"})
"""Variables that are no settings: read where they are used, and never kept."""
_SECRET = re.compile(r"api[-_]?key|secret|passw|credential|(access|auth|bearer)[-_]?token|^(token|key)$", re.IGNORECASE)
_THOUSANDS = re.compile(r"\d{1,3}(_\d{3})+")
_SHOWN_CHARS = 60
_FORMS = {
    "seconds": "\nwrite seconds, or a duration such as 90s, 5m or 1h30m",
    "count": "\nwrite a number, or one such as 500k or 2M",
    "bytes": "\nwrite bytes, or a size such as 512m or 2g",
}
"""How an amount of each unit may be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value came from."""

    source: Source = "default"
    where: str = ""
    """The file or the variable."""

    def __str__(self) -> str:
        return f"{self.source} {self.where}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One thing that can be set."""

    section: str
    name: str
    type: Any
    home: str
    """The field of the configuration that it is in: itself, or the Struct it is a field of."""
    default: Any = None
    table: bool = False
    """Any number of named entries, each of `type`."""

    @property
    def label(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def is_list(self) -> bool:
        return _is_list(self.type)

    def value_in(self, config: msgspec.Struct) -> Any:
        """The value that a configuration has for it."""
        return getattr(config if self.home == self.name else getattr(config, self.home), self.name)

    @property
    def is_text(self) -> bool:
        """Whether its value stays text, be it an amount with a unit."""
        return str in (getattr(self.type, "__origin__", self.type), *get_args(self.type))

    @property
    def variable(self) -> str:
        """Its environment variable."""
        words = (self.name,) if self.section == "rlm" or self.table else (self.section, self.name)
        return ENV_PREFIX + "_".join(words).upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A checked value and where it came from."""

    key: Key
    value: Any
    origin: Origin


class Schema(Generic[S]):
    """The keys of a configuration: `[rlm]` holds its plain fields and those of `inline`; other Structs are sections."""

    def __init__(self, root: type[S], inline: str) -> None:
        self.root = root
        self._keys = {key.label: key for key in _keys_of(root, inline)}
        self._homes = {f.name: f.type for f in fields(root) if _is_struct(f.type)}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    @property
    def sections(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key.section for key in self))

    def find(self, section: str, name: str) -> Key | None:
        return self._keys.get(f"{section}.{name}")

    def table(self, section: str) -> Key | None:
        """The key that is the whole section, where entries are named by the user."""
        key = self.find(section, section)
        return key if key is not None and key.table else None

    def named(self, label: str) -> Key:
        """The key of a label: `model`, `rlm.model`, `local.policy`, or an entry as `prices.openai/gpt-5`.

        Raises:
            ConfigError: there is none.
        """
        section, _, name = label.rpartition(".")
        if (key := self.find(section or "rlm", name)) is not None:
            return key
        first, _, entry = label.partition(".")
        table = self.table(first)
        if table is not None and entry:
            return _entry(table, entry.strip("\"'"))
        known = [*self.names(section or "rlm"), *(key.label for key in self)]
        raise ConfigError(f"there is no setting {label!r}{_meant(label if section else name, known)}")

    def names(self, section: str) -> list[str]:
        return [key.name for key in self if key.section == section]

    def build(self, settings: Iterable[Setting]) -> S:
        """The configuration with these values, and defaults for the rest."""
        inner: dict[str, dict[str, Any]] = {home: {} for home in self._homes}
        outer: dict[str, Any] = {}
        for setting in settings:
            key = setting.key
            if key.table:
                outer.setdefault(key.home, {})[key.name] = setting.value
            elif key.home in inner:
                inner[key.home][key.name] = setting.value
            else:
                outer[key.name] = setting.value
        return self.root(**outer, **{home: self._homes[home](**values) for home, values in inner.items()})


@dataclass(slots=True)
class Layers(Generic[S]):
    """What was set so far; a layer added later wins."""

    schema: Schema[S]
    home: str = ""
    """The user's home folder, for `~`."""
    settings: dict[str, Setting] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def value(self, key: Key) -> Any:
        """What a key has so far."""
        setting = self.settings.get(key.label)
        return key.default if setting is None else setting.value

    def add_file(self, file: ConfigFile, source: Source) -> None:
        """Raises:
        ConfigError: a key is unknown, misplaced or a secret, or a value doesn't fit.
        """
        folder = file.path.parent if source == "project" else None
        for section, content in file.table.items():
            if not isinstance(content, dict):
                raise self._misplaced(file.path, section)
            table = self.schema.table(section)
            for name, raw in content.items():
                key = _entry(table, name) if table else self.schema.find(section, name)
                if key is None:
                    raise self._unknown(file.path, section, name)
                self._set(key, _without_none(raw, key), Origin(source=source, where=str(file.path)), folder)

    def add_environ(self, environ: Mapping[str, str]) -> None:
        """Add every `RLM_*` variable; an empty one counts as unset, an unknown one is a warning.

        Raises:
            ConfigError: a value doesn't fit.
        """
        known = {key.variable: key for key in self.schema}
        for variable, text in environ.items():
            if not variable.startswith(ENV_PREFIX) or not text.strip() or variable in SECRETS:
                continue
            if variable not in known:
                self.warnings.append(f"{variable} is no setting of rlm and is ignored{_meant(variable, known)}")
                continue
            self._set_text(known[variable], text, Origin(source="environment", where=variable))

    def add_overrides(self, overrides: Mapping[str, Any]) -> None:
        """Add values by label (`model`, `local.policy`); text is read as the environment's is.

        Raises:
            ConfigError: a key is unknown, or a value doesn't fit.
        """
        for label, value in overrides.items():
            key = self.schema.named(label)
            origin = Origin(source="command line", where="--" + key.name.replace("_", "-"))
            if isinstance(value, str):
                self._set_text(key, value, origin)
            else:
                self._set(key, value, origin, None)

    def read(self, label: str, text: str) -> Setting:
        """The setting that a user means who gives a label and a text.

        Raises:
            ConfigError: there is no such setting, or the text doesn't fit.
        """
        key, origin = self.schema.named(label), Origin(source="command line", where=label)
        if key.table and key.name != key.section:
            braced = text if text.strip().startswith("{") else f"{{ {text} }}"
            self._set(key, dict(_inline_table(braced, origin)), origin, None)
        else:
            self._set_text(key, text, origin)
        return self.settings[key.label]

    def check(self, key: Key, value: Any) -> None:
        """Take the value of a key that a program gives.

        Raises:
            ConfigError: it doesn't fit.
        """
        self._set(key, value, Origin(source="command line", where=key.label.removeprefix("rlm.")), None)

    def _set_text(self, key: Key, text: str, origin: Origin) -> None:
        if key.table:
            for name, raw in _inline_table(text, origin).items():
                self._set(_entry(key, name), raw, origin, None)
        else:
            self._set(key, _read_text(text, key), origin, None, strict=False)

    def _set(self, key: Key, raw: Any, origin: Origin, folder: Path | None, *, strict: bool = True) -> None:
        try:
            value = msgspec.convert(_measured(raw, key), key.type, strict=strict)
        except msgspec.ValidationError as error:
            raise ConfigError(_misfit(key, raw, origin)) from error
        if note(key.type, "path"):
            value = _map_text(value, lambda text: _anchored(text, self.home, folder))
        self.settings[key.label] = Setting(key=key, value=value, origin=origin)

    def _misplaced(self, path: Path, name: str) -> ConfigError:
        if name in self.schema.sections:
            return ConfigError(f"{path}: {name} is a section: write [{name}] and its keys below")
        home = next((key.section for key in self.schema if key.name == name), None)
        if home is None:
            return self._unknown(path, "rlm", name)
        return ConfigError(f"{path}: {name} stands outside any section\nput it below [{home}]")

    def _unknown(self, path: Path, section: str, name: str) -> ConfigError:
        if _SECRET.search(name):
            return ConfigError(
                f"{path}: {name} in [{section}]: keys and passwords don't belong in a file\n"
                "take it out and set it in the environment, as OPENAI_API_KEY for openai"
            )
        if section not in self.schema.sections:
            return ConfigError(f"{path}: unknown section [{section}]{_meant(section, self.schema.sections)}")
        homes = [key.section for key in self.schema if key.name == name and not key.table]
        hint = f"\nit belongs in [{homes[0]}]" if homes else _meant(name, self.schema.names(section))
        return ConfigError(f"{path}: unknown key {name} in [{section}]{hint}")


def _keys_of(root: type[msgspec.Struct], inline: str) -> Iterator[Key]:
    for info in fields(root):
        if _is_struct(info.type):
            section = "rlm" if info.name == inline else info.name
            for inner in fields(info.type):
                yield Key(section=section, name=inner.name, type=inner.type, home=info.name, default=_default(inner))
        elif get_origin(info.type) is dict:
            entry = get_args(info.type)[1]
            yield Key(section=info.name, name=info.name, type=entry, home=info.name, default={}, table=True)
        else:
            yield Key(section="rlm", name=info.name, type=info.type, home=info.name, default=_default(info))


def _default(info: FieldInfo) -> Any:
    return info.default_factory() if info.default_factory is not msgspec.NODEFAULT else info.default


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _entry(table: Key, name: str) -> Key:
    return Key(section=table.section, name=name, type=table.type, home=table.home, table=True)


def _without_none(raw: Any, key: Key) -> Any:
    """TOML has no null: the text `none` stands for no cap and no value, and for an empty list."""
    if not isinstance(raw, str) or raw.strip().lower() != "none":
        return raw
    if key.is_list:
        return []
    return None if type(None) in get_args(key.type) else raw


def _measured(raw: Any, key: Key) -> Any:
    """A number that is given as text with its unit, as a number: `5m`, `2M`; what is none is left for the check."""
    unit = note(key.type, "unit")
    if not isinstance(raw, str) or unit is None or key.is_text:
        return raw
    try:
        return amount(raw, unit)
    except (ValueError, OverflowError):
        return raw


def _read_text(text: str, key: Key) -> Any:
    text = text.strip()
    raw = _without_none(text, key)
    if raw is not text:
        return raw
    if key.is_list:
        return [part for part in (part.strip() for part in text.split(",")) if part]
    return text.replace("_", "") if _THOUSANDS.fullmatch(text) else text


def _inline_table(text: str, origin: Origin) -> Mapping[str, Any]:
    try:
        table = tomli.loads(f"table = {text}")["table"]
    except (tomli.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{origin.where}: expected a TOML table such as {{ name = {{ ... }} }}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{origin.where}: expected a TOML table such as {{ name = {{ ... }} }}")
    return table


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple or any(get_origin(arg) is tuple for arg in get_args(kind))


def note(kind: Any, name: str) -> Any:
    """What a type, or a part of it, is annotated with under a name; None if it isn't."""
    given = ((meta.extra or {}).get(name) for meta in getattr(kind, "__metadata__", ()))
    inner = (note(part, name) for part in get_args(kind))
    return next((found for found in (*given, *inner) if found is not None), None)


def _map_text(value: Any, change: Any) -> Any:
    if value is None:
        return None
    return tuple(change(text) for text in value) if isinstance(value, tuple) else change(value)


def _anchored(text: str, home: str, folder: Path | None) -> str:
    if home and (text == "~" or text.startswith("~/")):
        return home + text[1:]
    return text if folder is None else str(folder / text)


def _misfit(key: Key, raw: Any, origin: Origin) -> str:
    where = f"{origin.where}: {key.name} in [{key.section}]" if origin.source in ("user", "project") else origin.where
    hint = _FORMS.get(note(key.type, "unit"), "") if isinstance(raw, str) and not key.is_text else ""
    return f"{where}: expected {wanted(key.type)}, got {_shown(raw)}{hint}"


def _shown(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _meant(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # only when something is wrong

    matches = get_close_matches(name, list(known), n=1)
    return f"\ndid you mean {matches[0]}?" if matches else ""


def wanted(kind: Any) -> str:
    """What a value of this type is, in words."""
    from msgspec import inspect  # only for messages and documentation

    return _in_words(inspect.type_info(kind))


def _in_words(info: Any) -> str:
    match type(info).__name__:
        case "Metadata":
            described = (info.extra_json_schema or {}).get("description")
            return str(described) if described else _in_words(info.type)
        case "UnionType":
            return " or ".join(_in_words(one) for one in info.types)
        case "VarTupleType":
            return "a list of texts"
        case "IntType":
            return "a whole number" + _range(info)
        case "FloatType":
            return "a number" + _range(info)
        case "LiteralType":
            return "one of " + ", ".join(sorted(map(str, info.values)))
        case "DictType":
            return "a table"
        case "StructType":
            return "a table of " + ", ".join(f.name + ("" if f.required else " (optional)") for f in info.fields)
        case other:
            return {"StrType": "text", "BoolType": "true or false", "NoneType": "none"}[other]


def _range(info: Any) -> str:
    if info.gt is not None:
        return f" above {info.gt:g}"
    return "" if info.ge is None else f" of at least {info.ge:g}"
