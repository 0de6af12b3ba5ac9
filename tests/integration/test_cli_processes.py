"""Each command once in an interpreter of its own, as a user starts it: what other tests fork has everything loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import typer

from rlm.cli.main import app
from tests.integration.cli import User, fenced
from tests.support.fork_server import ForkServer

LOCAL = ("--environment", "local")
STARTED = {
    "init": ([], 0, "rlm.toml"),
    "run": (["?", "--model", "scripted/again.json", *LOCAL], 0, "7\n"),
    "resume": (["last", *LOCAL], 2, "error: "),
    "fork": (["last", "--turn", "0", "--model", "scripted/again.json", *LOCAL], 0, "7\n"),
    "replay": (["last", *LOCAL], 0, "1 cell"),
    "exec": (["-c", "6 * 7", *LOCAL], 0, "42\n"),
    "verify": (["last"], 0, "intact"),
    "models": ([], 0, "demo"),
    "doctor": (["--model", "demo"], 1, "demo follows no dialect"),
    "trust": ([], 2, "error: "),
    "logs list": ([], 0, "a question"),
    "logs show": (["last"], 0, "prompt: a question"),
    "logs answer": (["last"], 0, "7"),
    "logs tail": (["last"], 0, "run completed: 7"),
    "logs grep": (["needle"], 0, "needle"),
    "logs export": (["last"], 0, "a question"),
    "logs index": ([], 0, "2 runs"),
    "config show": ([], 0, "[rlm]"),
    "config get": (["timeout_s"], 0, "600.0\n"),
    "config set": (["timeout_s", "5m"], 0, "set in "),
    "config unset": (["timeout_s"], 0, "isn't set in your configuration"),
    "history list": ([], 0, "a question"),
    "history show": (["last"], 0, "prompt: a question"),
    "history export": (["last"], 0, "a question"),
    "batch": (["absent.jsonl", "--out", "answers", "-m", "demo", "-p", "?", *LOCAL], 2, "absent.jsonl: No such file"),
    "serve status": ([], 1, "no service runs"),
    "serve stop": ([], 1, "no service runs"),
    "token add": (["ann", "--max-runs", "2"], 0, "rlm-"),
    "token list": ([], 0, "the owner's token alone"),
    "token revoke": (["absent"], 2, "there is no valid token"),
    "ctl list": ([], 0, "no run is in progress"),
    "ctl status": ([], 2, "no run is in progress"),
    "ctl pause": ([], 2, "no run is in progress"),
    "ctl resume": ([], 2, "no run is in progress"),
    "ctl cancel": (["last", "--child", "ab"], 2, "no run is in progress"),
    "ctl set": (["last", "max_turns=3"], 2, "no run is in progress"),
    "ctl say": (["last", "hint"], 2, "no run is in progress"),
    "ctl attach": ([], 2, "no run is in progress"),
    "mcp list": ([], 0, "no MCP server is configured"),
    "mcp login": (["absent"], 2, "no MCP server is configured"),
    "hooks list": ([], 0, "no hooks are configured"),
    "tasks run": (["list.toml", "--model", "scripted/again.json", *LOCAL], 0, "first  completed"),
    "tasks check": (["list.toml"], 0, "1 task, and nothing is wrong with them"),
    "tasks status": ([], 0, "first  completed"),
    "sandbox logs": ([], 2, "there is no sandbox 'last'"),
    "sandbox cost": ([], 0, ""),
    "session list": ([], 0, "work  revision 1"),
    "session show": (["work"], 0, "rows = [1]"),
    "session run": (["work", "-c", "rows", *LOCAL], 0, "[1]\n"),
    "session save": (["other"], 0, "other"),
    "session delete": (["work", "--yes"], 0, "work"),
    "skill save": (["g", "-c", "def g(): return 2", "-d", "Two.", *LOCAL], 0, "skill g: version 1"),
    "skill list": ([], 0, "f@1"),
    "skill show": (["f"], 0, "def f()"),
    "skill test": (["f", *LOCAL], 0, "skill f@1 runs"),
    "skill delete": (["f", "--yes"], 0, "f"),
}
"""The arguments of each, the exit code, and what is then said on either stream."""
STDIN = {"session save": '{"x": 1}'}
ELSEWHERE = {
    "acp": "test_acp.py",
    "wasm add": "test_wasm_packages.py",
    "mcp-serve": "test_mcp_server.py",
    "visualize": "test_visualizer.py",
    **{
        f"sandbox {name}": "test_workspaces.py"
        for name in ("run", "create", "list", "status", "download", "checkpoint", "terminate")
    },
}
"""Those that serve until they are ended, or need more than is here, and the tests that start them."""


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer) -> Path:
    """A place with the records of a run and of a task list, a session and a skill."""
    root = tmp_path_factory.mktemp("lived-in")
    with User(root, fork_server) as user:
        model = user.script(fenced("print('needle'); FINAL(7)"))
        shutil.copyfile(user.cwd / "replies.json", user.cwd / "again.json")
        user.rlm("run", "a question", "--model", model, *LOCAL)
        user.write("list.toml", '[[tasks]]\nid = "first"\nprompt = "a question"\n')
        user.rlm("tasks", "run", "list.toml", "--model", model, *LOCAL)
        user.rlm("session", "save", "work", stdin='{"rows": [1]}')
        user.rlm("skill", "save", "f", "-c", "def f(): return 1", "-d", "One.", *LOCAL)
    return root


def commands() -> set[str]:
    found = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        found.update({f"{name} {each}": each for each in below} if below else {name: name})
    return set(found)


def test_every_command_is_started() -> None:
    assert commands() == STARTED.keys() | ELSEWHERE.keys()
    assert all((Path(__file__).parent / name).exists() for name in ELSEWHERE.values())


@pytest.mark.parametrize("command", STARTED)
def test_a_command_works_in_an_interpreter_of_its_own(command: str, lived_in: Path, tmp_path: Path) -> None:
    arguments, code, said = STARTED[command]
    with User(tmp_path) as user:
        for folder in (user.home, user.cwd):
            shutil.copytree(lived_in / folder.name, folder, dirs_exist_ok=True)
        (records,) = user.logs.parent.iterdir()
        records.rename(user.logs)  # the project has moved
        done = user.process(*command.split(), *arguments, stdin=STDIN.get(command))
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
