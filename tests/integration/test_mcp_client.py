"""The MCP client against servers of the official SDK, over stdio and HTTP, and against some that misbehave."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from rlm import RLM
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.config import Config, McpServerConfig
from rlm.core.exceptions import ToolError
from rlm.sinks.memory import MemorySink
from rlm.tools.mcp.servers import McpServers
from rlm.tools.mcp.tool import McpTool
from tests.servers.mcp_servers import argv, over_http
from tests.support.ended import until_ended

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENVIRON = {"PATH": os.environ["PATH"], "SERVICE_KEY": "k-1", "TORN_KEY": "secret\n"}
Started = tuple[dict[str, McpTool], list[str]]


@asynccontextmanager
async def started(**configured: McpServerConfig) -> AsyncIterator[Started]:
    servers = McpServers(configured, ENVIRON)
    try:
        tools, warnings = await servers.start()
        yield {tool.spec.name: tool for tool in tools}, warnings
    finally:
        await servers.aclose()


def local(name: str = "good", **more: object) -> McpServerConfig:
    return McpServerConfig(command=argv(name), **more)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calc() -> AsyncIterator[Started]:
    """A server that behaves; the tests share it, for starting one takes a second."""
    async with started(calc=local(output_chars=1_000)) as made:
        yield made


async def test_the_tools_of_a_server_are_listed_and_called(calc: Started) -> None:
    tools, warnings = calc
    assert warnings == []
    assert tools["calc__add"].spec.parameters["required"] == ["a", "b"]
    assert tools["calc__add"].spec.description.startswith("Add two numbers.")
    assert not tools["calc__add"].reads_only, "what a server says of itself is no reason to trust it"
    assert await tools["calc__add"].call({"a": 2, "b": 40}) == "42"


async def test_a_server_from_before_the_stateless_era_is_the_same() -> None:
    """Its results are taken as they are: to check them by its own schema would take for ever."""
    async with started(old=local("legacy")) as (tools, warnings):
        assert warnings == []
        assert await tools["old__double"].call({"a": 21}) == "42"


async def test_a_remote_server_is_the_same() -> None:
    async with over_http() as url, started(calc=McpServerConfig(url=url)) as (tools, warnings):
        assert warnings == []
        assert await tools["calc__add"].call({"a": 2, "b": 40}) == "42"


async def test_only_allowed_tools_are_there() -> None:
    async with started(calc=local(tools=("add", "absent"))) as (tools, warnings):
        assert list(tools) == ["calc__add"]
        assert warnings == ["the MCP server calc has no tool absent"]


async def test_what_a_server_says_is_bounded_and_cleaned(calc: Started) -> None:
    tools, _ = calc
    described = tools["calc__big"].spec.description
    assert len(described) < 1_200
    assert described.isprintable()
    said = await tools["calc__big"].call({"chars": 50_000})
    assert len(said) < 1_100
    assert "49,000 characters left out" in said


async def test_a_failure_of_a_tool_is_a_tool_error(calc: Started) -> None:
    tools, _ = calc
    with pytest.raises(ToolError, match="calc__broken"):
        await tools["calc__broken"].call({})
    with pytest.raises(ToolError):
        await tools["calc__add"].call({"a": "x"})
    assert await tools["calc__add"].call({"a": 1, "b": 1}) == "2"


async def test_a_call_that_takes_too_long_is_given_up_and_the_server_goes_on() -> None:
    async with started(calc=local(timeout_s=1.0)) as (tools, _):
        with pytest.raises(ToolError, match="did not answer within 1 s"):
            await tools["calc__slow"].call({})
        assert await tools["calc__add"].call({"a": 1, "b": 1}) == "2"


async def test_a_cancelled_call_leaves_the_server_usable(calc: Started) -> None:
    tools, _ = calc
    task = asyncio.create_task(tools["calc__slow"].call({}))
    await asyncio.wait([task], timeout=0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await tools["calc__add"].call({"a": 1, "b": 1}) == "2"


async def test_a_server_gets_no_variable_but_its_own_and_ends_with_all_it_started() -> None:
    configured = local(env={"GIVEN": "1"}, env_from=("SERVICE_KEY",))
    async with started(calc=configured) as (tools, _):
        first, second, *names = (await tools["calc__pids_and_environment"].call({})).split()
    assert {"GIVEN", "SERVICE_KEY", "PATH"} <= set(names)
    assert set(names) <= {"GIVEN", "SERVICE_KEY", "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LC_CTYPE"}
    await until_ended([int(first), int(second)])


async def test_a_server_that_dies_is_started_again_at_most_three_times_in_a_run_and_no_call_is_repeated() -> None:
    servers = McpServers({"old": local("legacy", env_from=("SERVICE_KEY",))}, ENVIRON | {"SERVICE_KEY": "key-of-mine"})
    [double] = (await servers.start())[0]
    for _ in range(4):
        with pytest.raises(ToolError, match=r"died during the call, .* isn't repeated; .*exit code 1") as died:
            await double.call({"a": 0})
        assert "nothing to double with [SERVICE_KEY]" in str(died.value), "its last words, without its key"
    with pytest.raises(ToolError, match="too often to be started again"):
        await double.call({"a": 2})
    assert [said for said in servers.news() if "was started again: it ended with exit code 1" not in said] == []
    [double], warnings = await servers.start()
    assert (await double.call({"a": 2}), warnings) == ("4", [])
    await servers.aclose()


async def test_a_server_that_died_between_two_calls_is_started_again_for_the_next() -> None:
    async with started(calc=local(timeout_s=20.0)) as (tools, _):
        first = int((await tools["calc__pids_and_environment"].call({})).split()[0])
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(20.0):
            while tools["calc__add"].server.usable:
                await asyncio.sleep(0)
        assert await tools["calc__add"].call({"a": 1, "b": 1}) == "2"


async def test_a_server_that_refuses_a_call_by_any_code_lives_on() -> None:
    async with started(old=local("legacy")) as (tools, _):
        with pytest.raises(ToolError, match="one is too small"):
            await tools["old__double"].call({"a": 1})
        assert await tools["old__double"].call({"a": 21}) == "42"


async def test_what_a_server_prints_besides_the_protocol_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(mcp_servers={"old": local("chatty")}, log_dir=str(tmp_path), dialect="tools")
    sink = MemorySink()
    script = [tool_call("old__double", a=1), "FINAL('done')"]
    async with RLM(ScriptedBackend(script), environment="local", config=config, sinks=[sink]) as rlm:
        result = await rlm.acompletion("double")
    assert result.usage.tool_calls == 1
    [said] = [event.body.message for event in sink.events if event.type == "warning"]
    assert "the MCP server old wrote 2,000 lines that are no messages of the protocol, the first of them: " in said
    assert "loading caf" in said
    assert caplog.records == []


BROKEN: dict[str, tuple[McpServerConfig, str]] = {
    "exits": (local("exits"), "it ended with exit code 1; its last lines:\n  it broke at once"),
    "silent": (local("silent", start_timeout_s=1.5), "no answer within 1.5 s"),
    "babble": (local("babble", start_timeout_s=1.5), "it wrote 3 lines that are no messages of the protocol"),
    "absent": (McpServerConfig(command=("no-such-program",)), "no-such-program: No such file"),
    "nowhere": (McpServerConfig(url="http://127.0.0.1:9/mcp"), "left out"),
    "neither": (McpServerConfig(), "needs either command or url"),
    "unset": (local(env_from=("NOT_SET",)), "NOT_SET is not set"),
    "plain": (McpServerConfig(url="http://example.com/mcp", headers_from={"X-Key": "SERVICE_KEY"}), "https only"),
    "torn": (McpServerConfig(url="https://example.com/mcp", headers_from={"X-Key": "TORN_KEY"}), "no header can"),
    "nologin": (McpServerConfig(url="https://example.com/mcp", login=True, token_file="/nowhere/t"), "rlm mcp login"),
}


async def test_every_broken_server_is_reported_and_the_others_work() -> None:
    configured = {name: config for name, (config, _) in BROKEN.items()}
    async with started(**configured, calc=local()) as (tools, warnings):
        assert [name for name in tools if not name.startswith("calc__")] == []
        assert await tools["calc__add"].call({"a": 1, "b": 1}) == "2"
    said = dict(zip(BROKEN, warnings, strict=True))
    assert {name: said[name] for name, (_, words) in BROKEN.items() if words not in said[name]} == {}
    assert {name: text for name, text in said.items() if f"MCP server {name} is left out" not in text} == {}
    assert "secret" not in str(warnings)


async def test_a_run_calls_tools_from_the_model_and_from_code(tmp_path: Path) -> None:
    script = [tool_call("calc__add", a=40, b=2), tool_call("execute_code", code="FINAL(calc__add(a=1, b=2))")]
    configured = {"calc": local(), "gone": local("exits")}
    config = Config(
        mcp_servers=configured, guest_tools=("calc__add", "gone__tool"), log_dir=str(tmp_path), dialect="tools"
    )
    sink = MemorySink()
    async with RLM(ScriptedBackend(script), environment="local", config=config, sinks=[sink]) as rlm:
        result = await rlm.acompletion("add")
    assert (result.status, result.response) == ("completed", "3")
    assert result.usage.tool_calls == 2
    warned = [event.body.message for event in sink.events if event.type == "warning"]
    assert any("MCP server gone is left out" in said for said in warned)


HOST = """
import asyncio, os, sys
from rlm.core.config import McpServerConfig
from rlm.tools.mcp.servers import McpServers

async def main():
    servers = McpServers({"calc": McpServerConfig(command=tuple(sys.argv[1:]))}, os.environ)
    tools, _ = await servers.start()
    tool = next(tool for tool in tools if tool.spec.name.startswith("calc__pids"))
    print(await tool.call({}), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_servers_end_with_a_host_that_is_killed() -> None:
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOST, *argv("good"), stdout=asyncio.subprocess.PIPE
    )
    assert host.stdout is not None
    pids = (await host.stdout.readline()).split()[:2]
    host.kill()
    await host.wait()
    await until_ended(map(int, pids))
