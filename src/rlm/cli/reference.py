"""Describes the settings, in the words of the docstrings under the fields of the configuration. The example file and
docs/cli.md are generated here, so that neither can say anything other than the code."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from typing import TYPE_CHECKING, Any

from rlm.core.budget import Budget
from rlm.core.config import SCHEMA, Config
from rlm.core.config.layers import wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.config.layers import Key

_WIDTH = 100
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

_EXAMPLE_HEAD = """\
# Settings of rlm for this folder and, within a git checkout, those below it. Every key is here with its default;
# remove the # to set one.
# The command line wins over RLM_* variables, these over this file, and this file over ~/.config/rlm/config.toml.
# "none" lifts a cap that may be lifted. Keys and passwords don't belong here: set them in the environment.
"""

_ENTRIES = {
    "cli": """\
# [cli.NAME]
# command = ["ollama", "run", "qwen3"]
""",
    "mcp_servers": """\
# [mcp_servers.NAME]
# command = ["npx", "-y", "@modelcontextprotocol/server-filesystem", "/data"]
# tools = ["read_file"]
""",
    "plugins": """\
# [plugins.NAME]
# size = 3
""",
    "prices": """\
# [prices."provider/name"]
# input_usd = 1.0
# output_usd = 4.0
# cached_usd = 0.1
""",
}
"""An example entry for each section whose entries the user names."""


def example(model: str | None = None) -> str:
    """A configuration file with every key at its default, its meaning above; all commented out but `model` if given."""
    parts = [_EXAMPLE_HEAD]
    for section in sorted(SCHEMA.sections, key=lambda name: name in _ENTRIES):  # those with entries at the end
        keys = [key for key in SCHEMA if key.section == section]
        if keys[0].table:
            parts.append(f"\n{_comment(meaning(keys[0]))}{_ENTRIES[section]}")
            continue
        parts.append(f"\n[{section}]\n" + "\n".join(_example_key(key, model) for key in keys))
    return "".join(parts)


def meaning(key: Key) -> str:
    """The meaning of a key, in one paragraph."""
    struct = Budget if key.home == "budget" else Config
    if key.home not in ("budget", key.name):
        struct = next(info.type for info in _fields() if info.name == key.home)
    return _texts(struct)[key.name]


def settings_table() -> Iterator[str]:
    """Every setting as rows of a Markdown table, by section."""
    for section in SCHEMA.sections:
        yield f"\n### `[{section}]`\n\n| key | variable | default | what it takes | meaning |\n|---|---|---|---|---|\n"
        for key in (key for key in SCHEMA if key.section == section):
            name = '`"provider/name"`' if key.section == "prices" else "`NAME`" if key.table else f"`{key.name}`"
            unset = key.table or (key.is_list and key.default is None)
            default = "" if unset else f"`{toml_value(key.default)}`"
            cells = [name, f"`{key.variable}`", default, wanted(key.type), meaning(key)]
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def toml_value(value: Any) -> str:
    """A setting's value as TOML."""
    if value is None:
        return '"none"'
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, dict):
        inner = ", ".join(f"{toml_key(name)} = {toml_value(item)}" for name, item in value.items() if item is not None)
        return f"{{ {inner} }}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def assignment(key: Key, name: str, value: Any) -> str:
    """A setting as a line of TOML; a list that isn't set has no TOML form, and is a comment."""
    if value is None and key.is_list:
        return f"# {name} isn't set"
    return f"{toml_key(name)} = {toml_value(value)}"


def toml_key(name: str) -> str:
    """A key, quoted where TOML requires it."""
    return name if _BARE_KEY.fullmatch(name) else toml_value(name)


def _example_key(key: Key, model: str | None) -> str:
    if key.name == "model" and model is not None:
        return f"{_comment(meaning(key))}model = {toml_value(model)}\n"
    return f"{_comment(meaning(key))}# {assignment(key, key.name, key.default).removeprefix('# ')}\n"


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH))


def _fields() -> Any:
    from msgspec.structs import fields

    return fields(Config)


def _texts(struct: type) -> dict[str, str]:
    """The docstrings under the fields of a class, each on one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        match statement, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found
