"""Adds the MCP server and its skill to the project in the working directory, as Claude Code looks for them. What is
there is never changed: other servers stay, and another entry of the same name is an error."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlm.cli.console import say
from rlm.cli.project_file import write_settings
from rlm.core.exceptions import ConfigError

SERVERS_FILE = ".mcp.json"
SKILL_FILE = ".claude/skills/rlm/SKILL.md"
NAME = "rlm"
PORTABLE = {"command": "rlm", "args": ["mcp-serve"]}
"""How to start the server wherever `rlm` is on the PATH, for a file that is shared."""


def add_to_project(*, portable: bool) -> None:
    """Write both, and say what was done.

    Raises:
        ConfigError: the extra is missing, a file can't be read or written, or an entry of this name is another.
    """
    if find_spec("mcp") is None:
        raise ConfigError("the MCP server needs a package that is not installed\npip install 'rlm-runtime[mcp]'")
    wanted = PORTABLE if portable else entry()
    done = [_add_server(Path.cwd() / SERVERS_FILE, wanted), _add_skill(Path.cwd() / SKILL_FILE)]
    say("\n".join([*done, _remark(wanted), "next: start Claude Code here anew, and allow the server rlm"]))


def entry() -> dict[str, Any]:
    """How to start the server, wherever it is started from: this Python, and nothing from the working directory."""
    return {"command": sys.executable, "args": ["-P", "-m", "rlm", "mcp-serve"]}


def _remark(wanted: dict[str, Any]) -> str:
    """Where the entry works."""
    if wanted != PORTABLE:
        return f"it starts {sys.executable}; for a team that shares {SERVERS_FILE}: rlm init --claude --portable"
    found = shutil.which("rlm")
    where = f"here {found}" if found else "which it is not here: Claude Code won't find it"
    return f"it starts the rlm that is on the PATH of Claude Code, {where}"


def _add_server(path: Path, wanted: dict[str, Any]) -> str:
    found = _read(path)
    servers = found.setdefault("mcpServers", {})
    if not isinstance(servers, dict):
        raise ConfigError(f"{path}: mcpServers is no object\nmend it, or add the server by hand: {_by_hand(wanted)}")
    if servers.get(NAME) in (wanted, PORTABLE):
        return f"{path} has the server {NAME} already"
    if NAME in servers:
        raise ConfigError(
            f"{path} has another server {NAME}, which is left as it is\nremove it, or write instead: {_by_hand(wanted)}"
        )
    servers[NAME] = wanted
    try:
        write_settings(path, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    kept = f" beside {', '.join(name for name in servers if name != NAME)}" if len(servers) > 1 else ""
    return f"added the server {NAME} to {path}{kept}"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: no JSON, and is left as it is: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: no JSON object, and is left as it is")
    return found


def _add_skill(path: Path) -> str:
    source = Path(__file__).parents[1] / "mcp/plugin/skills/rlm/SKILL.md"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))
    except FileExistsError:
        return f"{path} is there already and is left as it is"
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return f"wrote the skill {path}"


def _by_hand(wanted: dict[str, Any]) -> str:
    return json.dumps({NAME: wanted})
