"""`rlm init --claude`: what Claude Code needs is added, and nothing that is there is changed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli import RLM, User

OTHER = {"mcpServers": {"other": {"command": "x", "env": {"K": "ü"}}}, "more": [1]}


def servers(user: User) -> dict[str, dict[str, object]]:
    return dict(json.loads((user.cwd / ".mcp.json").read_text(encoding="utf-8"))["mcpServers"])


def test_the_server_is_added_with_a_command_that_works_anywhere(user: User, tmp_path: Path) -> None:
    done = user.rlm("init", "--claude")
    assert done.returncode == 0, done.stderr
    assert "added the server rlm" in done.stderr
    entry = servers(user)["rlm"]
    command, arguments = str(entry["command"]), list(entry["args"])
    assert Path(command).is_absolute()
    assert Path(command).parent == Path(sys.executable).parent
    (tmp_path / "rlm.py").write_text("raise SystemExit('the working directory was imported')")
    ran = subprocess.run([command, *arguments], cwd=tmp_path, env=user.environ, stdin=subprocess.DEVNULL)
    assert ran.returncode == 0
    assert "answer_queries" in (user.cwd / ".claude/skills/rlm/SKILL.md").read_text()


def test_other_servers_stay_and_a_second_time_changes_nothing(user: User) -> None:
    user.write(".mcp.json", json.dumps(OTHER))
    assert "beside other" in user.rlm("init", "--claude").stderr
    written = json.loads((user.cwd / ".mcp.json").read_text(encoding="utf-8"))
    assert written["mcpServers"].pop("rlm")
    assert written == OTHER
    before = (user.cwd / ".mcp.json").read_bytes()
    assert "already" in user.rlm("init", "--claude").stderr
    assert (user.cwd / ".mcp.json").read_bytes() == before


@pytest.mark.parametrize(
    "content",
    ['{"mcpServers": {"rlm": {"command": "mine"}}}', "{broken", "[]", '{"mcpServers": []}', "[" * 100_000],
    ids=["another rlm", "no JSON", "a list", "no servers", "deep"],
)
def test_what_cannot_be_merged_is_left_as_it_is(user: User, content: str) -> None:
    path = user.write(".mcp.json", content)
    done = user.rlm("init", "--claude")
    assert done.returncode == 2
    assert str(path) in done.stderr
    assert path.read_text() == content


def test_a_skill_of_the_users_own_stays(user: User) -> None:
    path = user.write(".claude/skills/rlm/SKILL.md", "mine")
    assert "left unchanged" in user.rlm("init", "--claude").stderr
    assert path.read_text() == "mine"


def test_no_configuration_is_written_then(user: User) -> None:
    user.rlm("init", "--claude")
    assert not (user.cwd / "rlm.toml").exists()


def test_an_entry_to_share_starts_the_rlm_of_the_path(user: User) -> None:
    assert "Claude Code won't find it" in user.rlm("init", "--claude", "--portable", PATH=str(user.home)).stderr
    assert f"here {RLM}" in user.rlm("init", "--claude", "--portable", PATH=str(Path(RLM).parent)).stderr
    assert servers(user)["rlm"] == {"command": "rlm", "args": ["mcp-serve"]}
    assert "already" in user.rlm("init", "--claude").stderr
    assert user.rlm("init", "--portable").returncode == 2
