"""`rlm acp` as editors use it: sessions, prompts over the workspace, updates, permission, cancelling."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from typing import TYPE_CHECKING, Any

import acp
import pytest

from rlm.acp import agent
from tests.architecture.sources import ROOT
from tests.integration.cli import RLM, fenced
from tests.support import node_tools
from tests.support.acp_editor import Refused, editor
from tests.support.required import needs

if TYPE_CHECKING:
    from tests.integration.cli import User

LIBRARY = node_tools.find("acp")


@pytest.fixture(autouse=True)
def at_home(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent runs in this process, as that user."""
    monkeypatch.setenv("HOME", str(user.home))
    monkeypatch.setenv("RLM_ENVIRONMENT", "local")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)


class PackagesClient:
    """What an editor does that is made with the package."""

    text = ""

    async def session_update(self, session_id: str, update: Any, **_more: Any) -> None:
        if update.session_update == "agent_message_chunk":
            self.text += update.content.text

    def on_connect(self, conn: Any) -> None: ...


def scripted(user: User, *replies: str) -> str:
    """The name of a model, whose replies are not in the workspace."""
    path = user.home / "replies.json"
    path.write_text(json.dumps(replies))
    return f"scripted/{path}"


async def test_a_session_answers_over_the_workspace_and_goes_on(user: User) -> None:
    user.write("src/a.py", "x = 41\n")
    model = scripted(
        user,
        "let me look\n" + fenced("n = int(context['src/a.py'].split()[2]) + 1; print('seen', n)"),
        fenced("FINAL(n)"),
        fenced("FINAL(n + int(llm_query('one?')))"),
        "1",
    )
    async with editor(model=model) as client:
        session = await client.opened(user.cwd)
        first = await client.prompt(session, "how much?")
        assert (first["stopReason"], client.said()) == ("end_turn", "42")
        assert first["usage"]["outputTokens"] > 0
        assert "let me look" in client.said("agent_thought_chunk")
        cells = [each for each in client.updates if each["sessionUpdate"] == "tool_call"]
        assert [each["title"] for each in cells] == ["cell 1", "cell 2"]
        ended = [each for each in client.updates if each.get("toolCallId") == cells[0]["toolCallId"]][-1]
        assert (ended["status"], "seen 42" in json.dumps(ended["content"])) == ("completed", True)
        client.updates.clear()
        await client.prompt(session, "and one more?")
        assert client.said() == "43", "the variables are still there"
        calls = {each["title"]: each for each in client.updates if each["sessionUpdate"] == "tool_call"}
        assert calls.keys() == {"cell 3", "llm_query: one?"}, "nothing of the first run is shown again"
    assert session in {path.stem for path in user.logs.glob("*.jsonl")}, "the session has the name of its first run"


async def test_a_session_is_loaded_from_its_records_and_goes_on(user: User) -> None:
    user.write("a.txt", "data")
    model = scripted(user, fenced("n = 6; FINAL(n * 7)"), fenced("FINAL(n)"))
    async with editor(model=model) as client:
        session = await client.opened(user.cwd)
        await client.prompt(session, "what is it? ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5")
    script = scripted(user, "unused", fenced("FINAL(n + len(context))"))
    async with editor(model=script) as client:
        (listed,) = (await client.ask("session/list", cwd=str(user.cwd)))["sessions"]
        assert (listed["sessionId"], listed["title"][:14]) == (session, "what is it? [R")
        await client.ask("session/load", sessionId=session, cwd=str(user.cwd), mcpServers=[])
        assert client.said("user_message_chunk").startswith("what is it? [R")
        assert client.said() == "42"
        client.updates.clear()
        await client.prompt(session, "and its half?")
        assert client.said() == "7"
        await client.ask("session/close", sessionId=session)
        with pytest.raises(Refused, match="no session"):
            await client.prompt(session, "?")
        with pytest.raises(Refused, match="no run"):
            await client.ask("session/load", sessionId="a" * 32, cwd=str(user.cwd), mcpServers=[])
        with pytest.raises(Refused, match="no such session"):
            await client.ask("session/load", sessionId="../x", cwd=str(user.cwd), mcpServers=[])


async def test_a_prompt_over_changed_files_is_told_what_was_said(user: User) -> None:
    user.write("a.txt", "data")
    model = scripted(user, fenced("FINAL(len(context['a.txt']))"), fenced("FINAL(context['a.txt'])"))
    async with editor(model=model) as client:
        session = await client.opened(user.cwd)
        await client.prompt(session, "how long?")
        user.write("a.txt", "other")
        client.updates.clear()
        await client.prompt(session, "and now?")
        assert client.said() == "other"
        assert "can't go on with the variables" in client.said("agent_thought_chunk")
        client.updates.clear()
        await client.ask("session/load", sessionId=session, cwd=str(user.cwd), mcpServers=[])
        assert client.said("user_message_chunk") == "how long?and now?", "without what it was told"


async def test_edits_are_asked_for(user: User) -> None:
    user.write("a.txt", "one\n")
    model = scripted(
        user,
        fenced("fs.write_file('a.txt', 'two\\n')"),
        fenced("fs.write_file('a.txt', 'three\\n'); fs.write_file('b.txt', 'new\\n')"),
        fenced("FINAL(1)"),
        fenced("fs.write_file('a.txt', 'four\\n'); FINAL(1)"),
    )
    answers = iter(["no", "once", None])
    async with editor(model=model, permit=lambda _asked: next(answers)) as client:
        session = await client.opened(user.cwd)
        running = client.prompt(session, "change it")
        await client.update(lambda each: "not permitted: the user" in json.dumps(each))
        await running
        texts = [json.dumps(each["toolCall"]) for each in client.asked]
        assert ("-one" in texts[0], "+two" in texts[0], '"edit"' in texts[0]) == (True, True, True)
        assert (user.cwd / "a.txt").read_text() == "three\n"
        assert not (user.cwd / "b.txt").exists(), "a question that is cancelled is a refusal"
        await client.ask("session/set_mode", sessionId=session, modeId="edit")
        await client.prompt(session, "again")
        assert ((user.cwd / "a.txt").read_text(), len(client.asked)) == ("four\n", 3)
        with pytest.raises(Refused, match="there is no mode"):
            await client.ask("session/set_mode", sessionId=session, modeId="yolo")


async def test_the_editor_is_asked_what_hooks_ask(user: User) -> None:
    user.write("a.txt", "one")
    calls = fenced("try:\n    print(fs.read_file('a.txt'))\nexcept Exception as error:\n    print(error)\nFINAL(1)")
    answers = iter(["once", "no"])
    model = scripted(user, calls, calls)
    async with editor(model=model, permit=lambda _asked: next(answers), **{"hooks.approve": ["fs.read*"]}) as client:
        session = await client.opened(user.cwd)
        await client.prompt(session, "read it")
        await client.prompt(session, "and again")
        assert ["asks for fs.read_file(path='a.txt')" in each["toolCall"]["title"] for each in client.asked] == [
            True
        ] * 2
        outputs = json.dumps([each for each in client.updates if each.get("status") in ("completed", "failed")])
        assert ("one" in outputs, "nobody allowed fs.read_file" in outputs) == (True, True)


async def test_a_cancelled_prompt_says_so_and_the_session_goes_on(user: User) -> None:
    model = scripted(user, fenced("import time; n = 1"), fenced("time.sleep(1e3)"), fenced("FINAL(n)"))
    async with editor(model=model) as client:
        session = await client.opened(user.cwd)
        running = client.prompt(session, "go on")
        await client.update(lambda each: each.get("title") == "cell 2")
        with pytest.raises(Refused, match="answers a prompt already"):
            await client.prompt(session, "?")
        client.notify("session/cancel", sessionId=session)
        assert (await running)["stopReason"] == "cancelled"
        client.updates.clear()
        await client.prompt(session, "and?")
        assert client.said() == "1"


async def test_an_editor_that_goes_away_ends_its_runs(user: User) -> None:
    model = scripted(user, fenced("import time; time.sleep(1e3)"))
    async with editor(model=model) as client:
        servers = [{"name": "x", "command": "x", "args": [], "env": []}]
        session = (await client.ask("session/new", cwd=str(user.cwd), mcpServers=servers))["sessionId"]
        running = client.prompt(session, "go on")
        await client.update(lambda each: each.get("title") == "cell 1")
        assert "the MCP servers of the editor are not used" in client.said("agent_thought_chunk")
    assert isinstance(running.exception(), EOFError)
    (record,) = user.logs.glob("*.jsonl")
    assert json.loads(record.read_bytes().splitlines()[-1])["body"]["status"] == "cancelled"


async def test_what_is_attached_is_shown_or_becomes_context(user: User) -> None:
    model = scripted(user, fenced("print(sorted(context)); FINAL([len(context['big.txt']), sorted(context)])"))
    async with editor(model=model) as client:
        user.write("src/a.py", "x = 1\n")
        user.write("b.py", "x = 1\n")
        session = await client.opened(user.cwd)
        blocks = [
            {"type": "resource_link", "uri": f"file://{user.cwd}/src/a.py", "name": "a.py"},
            {"type": "resource_link", "uri": "file:///etc/hostname", "name": "hostname"},
            {"type": "resource", "resource": {"uri": "file:///x/small.txt", "text": "just this"}},
            {"type": "resource", "resource": {"uri": "file:///x/big.txt", "text": "y" * 9_000}},
            {"type": "resource", "resource": {"uri": "b.txt", "blob": base64.b64encode(b"bytes").decode()}},
        ]
        await client.prompt(session, "look", *blocks)
        assert json.loads(client.said()) == [9_000, ["b.py", "b.txt", "big.txt", "src/a.py"]]
        await client.ask("session/load", sessionId=session, cwd=str(user.cwd), mcpServers=[])
        asked = client.said("user_message_chunk")
        assert "The file src/a.py of the workspace" in asked
        assert "hostname (file:///etc/hostname) is meant, which was not read" in asked
        assert "just this" in asked


async def test_what_goes_wrong_is_told_in_a_sentence_and_ends_nothing(user: User) -> None:
    async with editor(model="scripted/missing.json") as client:
        session = await client.opened(user.cwd)
        for line in (b"{broken", b"[1]", b'"text"', b'{"jsonrpc": "2.0"}'):
            client.write(line)
        wrong = [
            client.prompt(session, "?"),
            client.prompt(session),
            client.prompt(session, {"type": "audio", "data": "", "mimeType": "audio/wav"}),
            client.ask("session/new", cwd="relative", mcpServers=[]),
            client.ask("session/new", cwd="/nowhere/at/all", mcpServers=[]),
            client.ask("session/new"),
            client.ask("session/nothing"),
            client.ask("authenticate", methodId="x"),
        ]
        errors = [each.args[0] for each in await asyncio.gather(*wrong, return_exceptions=True)]
        assert [each["code"] for each in errors[-3:]] == [-32602, -32601, -32602]
        for each in (*errors[:5], errors[-1]):
            assert (each["data"], "\nTraceback" in each["message"]) == (None, False), each
        assert [each["error"]["code"] for each in client.strays] == [-32700, -32600, -32600]


async def test_the_text_of_an_error_that_nobody_foresaw_stays_here(
    user: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_any: object) -> None:
        raise ValueError("hunter2")

    monkeypatch.setattr(agent, "read_prompt", broken)
    async with editor(model=scripted(user, "unused")) as client:
        session = await client.opened(user.cwd)
        with pytest.raises(Refused) as refused:
            await client.prompt(session, "?")
    assert refused.value.args[0] == {"code": -32603, "message": "ValueError: this should not happen", "data": None}
    assert "hunter2" in caplog.text, "which goes to stderr"


async def test_a_project_file_that_nobody_trusts_is_refused(user: User) -> None:
    user.write("rlm.toml", "[rlm]\nallowed_paths = ['.']\n")
    async with editor() as client:
        with pytest.raises(Refused, match="rlm trust"):
            await client.opened(user.cwd)


async def test_a_large_workspace_is_left_to_the_helpers(user: User) -> None:
    user.write("a.txt", "x" * 2_000)
    model = scripted(user, fenced("FINAL([context, fs.read_file('a.txt')[:1]])"))
    async with editor(model=model, **{"acp.context": "1k"}) as client:
        session = await client.opened(user.cwd)
        await client.prompt(session, "look")
        assert json.loads(client.said()) == [None, "x"]
        assert "has more than 1,024 bytes of files" in client.said("agent_thought_chunk")


async def test_the_packages_own_client_talks_to_the_command(user: User) -> None:
    user.write("a.txt", "data")
    client = PackagesClient()
    arguments = ("acp", "--model", scripted(user, fenced("print('noise'); FINAL(len(context['a.txt']))")))
    async with acp.spawn_agent_process(client, RLM, *arguments, env=user.environ, cwd=user.cwd) as (connected, process):
        hello = await connected.initialize(protocol_version=99)
        assert (hello.protocol_version, hello.agent_capabilities.load_session) == (1, True)
        session = await connected.new_session(cwd=str(user.cwd), mcp_servers=[])
        assert [mode.id for mode in session.modes.available_modes] == ["ask", "edit", "read"]
        done = await connected.prompt(session_id=session.session_id, prompt=[acp.text_block("how long?")])
        assert (done.stop_reason, client.text) == ("end_turn", "4")
        process.stdin.close()
        assert await process.wait() == 0


@needs("node", "acp")
def test_the_library_of_editors_talks_to_the_command(user: User) -> None:
    model = scripted(user, fenced("fs.write_file('b.txt', 'new'); FINAL('done')"))
    arguments = (*map(str, (LIBRARY, user.cwd)), RLM, "acp", "--model", model, "--environment", "local")
    command = ("node", "tests/support/acp_client.mjs", *arguments)
    done = subprocess.run(command, cwd=ROOT, env=user.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    came = json.loads(done.stdout)
    assert (came["stopReason"], came["asked"]) == ("end_turn", ["Allow fs.write_file?"])
    assert (user.cwd / "b.txt").read_text() == "new"
    assert came["updates"][-1]["content"]["text"] == "done"
