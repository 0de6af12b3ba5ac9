"""Agents that are known by name: how each is started alone, and which API it may ask, with a key that stays here."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError
from rlm.workspaces.egress import Upstream
from rlm.workspaces.values import API_PORT, Mount

if TYPE_CHECKING:
    from collections.abc import Mapping

AGENTS = ("claude",)
_ELF = b"\x7fELF"
_PROGRAM = "/opt/rlm/claude"
_ANTHROPIC = "https://api.anthropic.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent, ready to be given a prompt on its stdin."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    upstream: Upstream
    mounts: tuple[Mount, ...] = field(default=())


def agent_named(name: str, environ: Mapping[str, str]) -> Agent:
    """The agent of that name, by what this environment has. Raises:
    ConfigError: it has no key.
    """
    assert name in AGENTS
    return _claude(environ)


def _claude(environ: Mapping[str, str]) -> Agent:
    """Claude Code: the installed one where that is one file, which is mounted; else the image's."""
    key, token = environ.get("ANTHROPIC_API_KEY"), environ.get("ANTHROPIC_AUTH_TOKEN")
    if not key and not token:
        raise ConfigError(
            "the agent claude has no key\nset ANTHROPIC_API_KEY here: it stays on this machine, and is added to what "
            "the agent asks; a login of claude's own is not used"
        )
    program = _whole_program(shutil.which("claude", path=environ.get("PATH")))
    secret = {"x-api-key": key} if key else {"authorization": f"Bearer {token}"}
    return Agent(
        argv=("claude" if program is None else _PROGRAM, "-p", "--dangerously-skip-permissions"),
        environment={
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{API_PORT}",
            "ANTHROPIC_API_KEY": "stays-on-the-host",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "IS_SANDBOX": "1",
        },
        upstream=Upstream(
            url=environ.get("ANTHROPIC_BASE_URL") or _ANTHROPIC, headers=secret, paths=("/v1/messages", "/v1/models")
        ),
        mounts=() if program is None else (Mount(source=program, target=_PROGRAM),),
    )


def _whole_program(found: str | None) -> str | None:
    """The file of a program that needs no other file of this machine but a C library."""
    if found is None:
        return None
    path = Path(os.path.realpath(found))
    with path.open("rb") as file:
        return str(path) if file.read(len(_ELF)) == _ELF else None
