"""Adds the MCP server and its skill to the project in the working directory, where Claude Code looks for them. Nothing
that is there already is changed: other servers stay, and a different server of the same name is an error."""

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
from rlm.core.extras import install_command

SERVERS_FILE = ".mcp.json"
SKILL_FILE = ".claude/skills/rlm/SKILL.md"
NAME = "rlm"
PORTABLE = {"command": "rlm", "args": ["mcp-serve"]}
"""How to start the server wherever `rlm` is on the PATH, for a file that is shared."""


def add_to_project(*, portable: bool) -> None:
    """Add the server and the skill, and say what was done.

    Raises:
        ConfigError: the extra is missing, a file can't be read or written, or there is a different server of this name.
    """
    if find_spec("mcp") is None:
        raise ConfigError(f"the MCP server needs a package that is not installed\n{install_command('mcp')}")
    wanted = PORTABLE if portable else entry()
    done = [_add_server(Path.cwd() / SERVERS_FILE, wanted), _add_skill(Path.cwd() / SKILL_FILE)]
    say("\n".join([*done, _remark(wanted), "next: restart Claude Code here, and allow the server rlm"]))


def entry() -> dict[str, Any]:
    """How to start the server, wherever it is started from: this Python, and nothing from the working directory."""
    return {"command": sys.executable, "args": ["-P", "-m", "rlm", "mcp-serve"]}


def _remark(wanted: dict[str, Any]) -> str:
    """A remark on where the entry works."""
    if wanted != PORTABLE:
        return f"it starts {sys.executable}; for a team that shares {SERVERS_FILE}: rlm init --claude --portable"
    found = shutil.which("rlm")
    where = f"here {found}" if found else "but there is no rlm on the PATH here: Claude Code won't find it"
    return f"it starts the rlm that is on the PATH of Claude Code, {where}"


def _add_server(path: Path, wanted: dict[str, Any]) -> str:
    found = _read(path)
    servers = found.setdefault("mcpServers", {})
    if not isinstance(servers, dict):
        raise ConfigError(f"{path}: mcpServers is not an object\nfix it, or add the server by hand: {_by_hand(wanted)}")
    if servers.get(NAME) in (wanted, PORTABLE):
        return f"{path} already has the server {NAME}"
    if NAME in servers:
        raise ConfigError(
            f"{path} already has a different server {NAME}, which is left unchanged\n"
            f"remove it, or write instead: {_by_hand(wanted)}"
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
        raise ConfigError(f"{path} isn't JSON, and is left unchanged: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} isn't a JSON object, and is left unchanged")
    return found


def _add_skill(path: Path) -> str:
    source = Path(__file__).parents[1] / "mcp/plugin/skills/rlm/SKILL.md"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))
    except FileExistsError:
        return f"{path} already exists and is left unchanged"
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return f"wrote the skill {path}"


def _by_hand(wanted: dict[str, Any]) -> str:
    return json.dumps({NAME: wanted})
