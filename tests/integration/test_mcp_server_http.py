"""The MCP server over HTTP: who gets in, and whose sessions are whose. Over stdio: nothing but protocol on stdout."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Mapping

import httpx2
import pytest
import pytest_asyncio

from tests.integration.cli import RLM, User
from tests.support.mcp_clients import LEGACY, MODERN, TOKEN, http_server, over_http

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """One server for all clients, which know nothing of each other."""
    with User(tmp_path_factory.mktemp("place")) as user:
        async with http_server(user) as address:
            yield address


async def status(url: str, headers: Mapping[str, str]) -> int:
    wanted = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient() as http:
        return (await http.post(url, json=HELLO, headers={**wanted, **headers})).status_code


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"Authorization": f"bEARER  {TOKEN}"}, 200),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": ""}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Host": "attacker.example"}, 421),
        ({"Origin": "http://attacker.example"}, 403),
        ({"Origin": "http://localhost:8377"}, 200),
    ],
)
async def test_who_gets_in(url: str, headers: dict[str, str], expected: int) -> None:
    assert await status(url, headers) == expected


async def test_an_oversized_request_is_refused_and_the_server_lives(url: str) -> None:
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        assert (await http.post(url, content=b"x" * (5 << 20))).status_code == 413
    assert await status(url, {}) == 200


async def test_a_session_is_its_clients_own(url: str) -> None:
    async with over_http(url, LEGACY) as one, over_http(url, LEGACY) as other:
        await one.run("x = 1")
        assert await one.run("x") == "1"
        assert "NameError" in await other.run("x")
        assert "you have no session" in await other.refused("destroy_session", session_id="a")
        assert (await other.call("list_sessions")).count("\n") == 0


async def test_clients_without_a_session_get_names_that_nobody_guesses(url: str) -> None:
    async with over_http(url, MODERN) as one, over_http(url, MODERN) as other:
        said = await one.run("x = 1")
        name = said.partition('session_id="')[2].partition('"')[0]
        assert len(name) == 18
        assert name.startswith("s-")
        assert (await one.run("x", session_id=name)).startswith("1\n")
        assert "NameError" in await other.run("x")
        assert name not in await other.call("list_sessions")
        assert name not in await other.refused("destroy_session", session_id="s-0")


async def test_a_client_that_says_goodbye_takes_its_sessions_along(user: User) -> None:
    async with http_server(user) as url:
        async with over_http(url, LEGACY) as client:
            await client.run("x = 1")
        (record,) = user.logs.glob("*.jsonl")
        assert json.loads(record.read_text().splitlines()[-1])["type"] == "completion.end"


def test_the_token_is_made_once_and_kept_for_the_user_alone(user: User) -> None:
    said = []
    for _ in range(2):
        process = user.start("mcp-serve", "--http", "--port", "0")
        assert process.stderr is not None
        said.append([process.stderr.readline(), process.stderr.readline()][1])
        process.terminate()
        process.wait()
    kept = user.home / ".local/state/rlm/mcp-token"
    assert said[0] == said[1] == f"  Authorization: Bearer {kept.read_text()}"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_short_token_is_refused(user: User) -> None:
    done = user.rlm("mcp-serve", "--http", RLM_MCP_TOKEN="guess")
    assert done.returncode == 2
    assert "at least 16 characters" in done.stderr


def test_nothing_but_protocol_is_on_stdout(user: User) -> None:
    """Even where something that the server imports prints, to the descriptor too."""
    user.write("noisy/sitecustomize.py", "import os, sys\nimport atexit\natexit.register(os.write, 1, b'late noise')\n")
    user.write("noisy/uvicorn.py", "print('noise')\n")
    call = {"name": "execute_python", "arguments": {"code": "print('said')"}}
    requests = [
        HELLO,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        "this is no JSON",
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call},
    ]
    lines = "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in requests)
    environ = {**user.environ, "PYTHONPATH": str(user.cwd / "noisy")}
    process = subprocess.Popen(
        [RLM, "mcp-serve"], cwd=user.cwd, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(lines)
    process.stdin.flush()
    answered = []
    while not any('"id":2' in line for line in answered):
        answered.append(process.stdout.readline())
    assert "said" in answered[-1]
    process.communicate(timeout=30)
    messages = [json.loads(line) for line in answered]
    assert all(message["jsonrpc"] == "2.0" for message in messages)
    assert [message["id"] for message in messages if "error" in message] == [None]


def test_a_closed_stdin_ends_the_server(user: User) -> None:
    assert user.rlm("mcp-serve", stdin="").returncode == 0
