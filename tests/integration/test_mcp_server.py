"""The MCP server as hosts use it: the official client, a real process, both transports, both eras."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from mcp_types import ElicitRequestFormParams, ElicitResult, ListRootsResult, Root

from tests.integration.cli import User
from tests.support.mcp_clients import LEGACY, MODERN, Host, big_log, held, host, lent

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVERYWHERE = [(transport, mode) for transport in ("stdio", "http") for mode in (LEGACY, MODERN)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """Where the servers run that tests share."""
    with User(tmp_path_factory.mktemp("place")) as user:
        yield user


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=EVERYWHERE, ids="-".join)
async def each_server(place: User, request: pytest.FixtureRequest) -> AsyncIterator[Host]:
    async with held(host(place, *request.param)) as connected:
        yield connected


@pytest_asyncio.fixture(loop_scope="module")
async def anywhere(each_server: Host, place: User) -> AsyncIterator[Host]:
    async with lent(each_server, place.cwd) as connected:
        yield connected


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stdio_server(place: User) -> AsyncIterator[Host]:
    async with held(host(place, "stdio", LEGACY)) as connected:
        yield connected


@pytest_asyncio.fixture(loop_scope="module")
async def mine(stdio_server: Host, place: User) -> AsyncIterator[Host]:
    """A client over stdio, as Claude Code is one."""
    async with lent(stdio_server, place.cwd) as connected:
        yield connected


async def test_variables_stay_between_calls(anywhere: Host) -> None:
    assert await anywhere.run("found = [1, 2]", session_id="a") == "(nothing printed; set: found)"
    assert await anywhere.run("print('here'); len(found)", session_id="a") == "here\n2"


async def test_data_is_loaded_without_passing_through_and_worked_on(anywhere: Host, place: User) -> None:
    big_log(place.cwd)
    said = await anywhere.call("load_context", path="big.log", session_id="a")
    assert "1,000 lines" in said
    assert len(said) < 2_500
    assert await anywhere.run("context.count('ERROR')", session_id="a") == "100"


async def test_queries_are_handed_to_the_host_and_the_cell_goes_on(anywhere: Host) -> None:
    asked = await anywhere.run("print(llm_query_batched(['red?', 'blue?']))", session_id="a")
    assert 'answer_queries(session_id="a"' in asked
    assert "red?" in asked
    assert "blue?" in asked
    answers = {"q1": "yes", "q2": "no"}
    assert await anywhere.call("answer_queries", session_id="a", answers=answers) == "['yes', 'no']"


STEERING = {"monitor_execution", "control_execution"}
PLANNING = {"get_task_complexity", "validate_task_list", "suggest_execution_strategy"} | {
    *("get_execution_history", "get_hook_status", "check_websocket_status")
}


async def test_there_are_at_most_ten_tools_beside_those_that_steer_and_each_says_what_it_takes(anywhere: Host) -> None:
    tools = (await anywhere.client.list_tools()).tools
    assert len({tool.name for tool in tools} - STEERING - PLANNING) <= 10
    assert {tool.name for tool in tools} >= STEERING | PLANNING
    for tool in tools:
        assert tool.description
        assert len(tool.description.encode()) < 2_048
        assert "\n  " not in tool.description, "the indentation of the source"
        assert tool.output_schema is None
        assert all("description" in field for field in tool.input_schema["properties"].values() if field.get("title"))


async def test_an_error_in_a_cell_is_a_result_and_its_state_stays(mine: Host) -> None:
    said = await mine.run("kept = 5\nprint('before')\n1 / 0")
    assert said.startswith("before\nTraceback")
    assert "ZeroDivisionError" in said
    assert await mine.run("kept") == "5"


async def test_long_output_is_cut_and_says_how_to_see_more(mine: Host) -> None:
    said = await mine.run("print('x' * 100_000)")
    assert len(said) < 11_000
    assert "characters cut here" in said


async def test_final_is_shown(mine: Host) -> None:
    assert await mine.run("FINAL({'a': 1})") == 'FINAL: {"a": 1}'


async def test_variables_are_set_shown_and_cleared(mine: Host) -> None:
    await mine.call("set_repl_context", variables={"limits": [1, None, {"deep": True}], "name": 'a"b'})
    assert await mine.call("get_repl_context", names=["limits", "name"]) == (
        "limits = [1, None, {'deep': True}]\nname = 'a\"b'"
    )
    assert "limits  list  3 items" in await mine.call("get_repl_context")
    await mine.run("for n in range(25): globals()[f'v{n}'] = 'é' * 9_000")
    said = await mine.call("get_repl_context", names=[f"v{n}" for n in range(25)])
    assert "v2 = " in said
    assert "[22 not shown, ask for them by themselves: v3, " in said
    assert len(said.encode()) < 3 * 25_000
    assert "variables are gone" in await mine.call("clear_repl_context")
    assert "limits" not in await mine.call("get_repl_context")


@pytest.mark.parametrize("name", ["context", "llm_query", "a b", "_x", "import"])
async def test_what_is_no_variable_is_not_set(mine: Host, name: str) -> None:
    assert repr(name)[1:-1] in await mine.refused("set_repl_context", variables={name: 1})


async def test_loading_never_loses_variables_unasked(mine: Host, place: User) -> None:
    big_log(place.cwd)
    await mine.run("kept = 1")
    assert "variables (kept)" in await mine.refused("load_context", path="big.log")
    assert await mine.run("kept") == "1"
    await mine.call("load_context", path="big.log", replace=True)
    assert "NameError" in await mine.run("kept")


async def test_clearing_keeps_the_data(mine: Host, place: User) -> None:
    big_log(place.cwd)
    await mine.call("load_context", path="big.log")
    await mine.call("clear_repl_context")
    assert await mine.run("len(context.splitlines())") == "1000"


async def test_folders_and_globs_become_a_dict(mine: Host, place: User) -> None:
    for name in ("a.txt", "sub/b.txt", "c.md"):
        place.write(name, name)
    await mine.call("load_context", path="**/*.txt")
    assert await mine.run("sorted(context.items())") == "[('a.txt', 'a.txt'), ('sub/b.txt', 'sub/b.txt')]"
    await mine.call("load_context", path=["a.txt", "c.md"], session_id="two")
    assert await mine.run("sorted(context)", session_id="two") == "['a.txt', 'c.md']"


async def test_an_encoding_can_be_named_where_the_guess_is_wrong(mine: Host, place: User) -> None:
    (place.cwd / "x.txt").write_bytes("Привет".encode("cp866"))
    await mine.call("load_context", path="x.txt", encoding="cp866")
    assert await mine.run("context") == "'Привет'"
    assert "is not a text encoding" in await mine.refused("load_context", path="x.txt", encoding="utf-9")


async def test_binary_data_is_taken_where_that_is_asked_for(mine: Host, place: User) -> None:
    (place.cwd / "x.bin").write_bytes(bytes(range(256)))
    said = await mine.refused("load_context", path="x.bin")
    assert "binary=true" in said
    assert "path.read_bytes" not in said
    assert "256 characters" in await mine.call("load_context", path="x.bin", binary=True)


@pytest.mark.parametrize("path", ["/etc/passwd", "../home/x", "*/../../home/*", "link", "~/x"])
async def test_nothing_outside_of_the_project_is_loaded(mine: Host, place: User, path: str) -> None:
    (place.home / "x").write_text("secret")
    (place.cwd / "link").symlink_to(place.home / "x")
    said = await mine.refused("load_context", path=path)
    assert "secret" not in said
    assert "outside" in said or "'..'" in said or (path == "link" and "'link' is a link" in said)


async def test_a_client_names_the_folders_it_works_in(user: User, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    big_log(tmp_path / "elsewhere")

    async def roots(_context: object) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=(tmp_path / "elsewhere").as_uri())])

    async with host(user, "stdio", LEGACY, list_roots_callback=roots) as connected:
        assert "1,000 lines" in await connected.call("load_context", path="big.log")
        assert "outside" in await connected.refused("load_context", path="/etc/passwd")


async def test_sessions_are_side_by_side(mine: Host) -> None:
    await asyncio.gather(mine.run("x = 'a'", session_id="a"), mine.run("x = 'b'", session_id="b"))
    assert await asyncio.gather(mine.run("x", session_id="a"), mine.run("x", session_id="b")) == ["'a'", "'b'"]
    listed = await mine.call("list_sessions")
    assert listed.count("variables: x") == 2
    await mine.call("destroy_session", session_id="a")
    assert "yours: 'b'" in await mine.refused("get_repl_context", session_id="a")


async def test_calls_of_one_session_run_one_after_the_other(mine: Host) -> None:
    await mine.run("seen = []")
    await asyncio.gather(*(mine.run(f"seen.append({n}); seen.append({n})") for n in range(5)))
    pairs = json.loads(await mine.run("seen"))
    assert pairs[::2] == pairs[1::2]
    assert sorted(pairs[::2]) == [0, 1, 2, 3, 4]


async def test_a_cell_that_never_ends_is_stopped_and_its_state_stays(mine: Host) -> None:
    await mine.run("kept = 1")
    assert "longer than 0.3 s" in await mine.run("while True: pass", timeout=0.3)
    assert await mine.run("kept") == "1"
    assert "at most 600" in await mine.refused("execute_python", code="1", timeout=10_000)


async def test_progress_is_told_while_a_cell_runs(mine: Host) -> None:
    told: list[str | None] = []

    async def progress(_progress: float, _total: float | None, message: str | None) -> None:
        told.append(message)

    code = "import time\nfor n in range(5):\n    print('step', n)\n    time.sleep(0.5)"
    await mine.client.call_tool("execute_python", {"code": code}, progress_callback=progress)
    assert told
    assert re.fullmatch(r"running for \d+ s: step \d", told[0] or "")


async def test_a_cancelled_call_interrupts_its_cell_at_once(anywhere: Host) -> None:
    await anywhere.run("kept = 1", session_id="a")
    calling = asyncio.ensure_future(anywhere.run("print('begun')\nwhile True: pass", session_id="a"))
    while "running" not in await anywhere.call("list_sessions"):
        await asyncio.sleep(0)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    said = await anywhere.run("kept", session_id="a")
    assert "ended as interrupted" in said
    assert said.endswith("\n1")


async def test_a_bad_call_says_what_is_wanted(mine: Host) -> None:
    assert "code" in await mine.refused("execute_python", kode="1")
    assert "1,000,000" in await mine.refused("execute_python", code="#" * 1_000_001)
    assert "1 to 64" in await mine.refused("execute_python", code="1", session_id="../x")
    assert "none yet" in await mine.refused("answer_queries", answers={"q1": "x"})


async def test_idle_sessions_close_and_that_is_said_once(user: User) -> None:
    user.write("rlm.toml", "[mcp]\nsession_ttl_s = 0.4\n")
    async with host(user, "stdio", LEGACY) as connected:
        await connected.run("x = 1")
        while "No sessions" not in await connected.call("list_sessions"):
            await asyncio.sleep(0)
        assert "nobody used it for 0.4 s" in await connected.refused("execute_python", code="x")
        assert "NameError" in await connected.run("x")


async def test_there_are_only_so_many_sessions(user: User) -> None:
    user.write("rlm.toml", "[mcp]\nmax_sessions = 2\n")
    async with host(user, "stdio", LEGACY) as connected:
        await connected.run("1", session_id="a")
        await connected.run("1", session_id="b")
        assert "(a, b)" in await connected.refused("execute_python", code="1", session_id="c")
        await connected.call("destroy_session", session_id="a")
        assert await connected.run("1", session_id="c") == "1"


async def test_records_are_resources_and_can_be_verified(mine: Host) -> None:
    await mine.run("print('in the record')")
    await mine.call("destroy_session")
    assert "intact" in await mine.call("verify_execution")
    assert (await mine.call("verify_execution", last_n=1)).count("intact") == 1


async def test_a_task_list_is_judged_by_rules_before_it_costs_anything(mine: Host) -> None:
    assert "a guess by rules" in await mine.call("get_task_complexity", task="Build a FastAPI app with authentication")
    tasks = [{"id": "a", "prompt": "Count the 3 rows"}, {"id": "b", "prompt": "Fix it somehow", "needs": ["a"]}]
    assert "b may be unclear: 'somehow'" in await mine.call("validate_task_list", tasks=tasks)
    assert "in 2 waves: a; then b" in await mine.call("suggest_execution_strategy", tasks=tasks)
    assert "sequential" in await mine.call("suggest_execution_strategy", tasks=["Say 1", "Say 2"])
    wrong = [{"id": "a", "prompt": "x", "needs": ["c"], "files": ["/etc/passwd"], "session": "mine"}]
    assert "files can't be given here" in await mine.refused("validate_task_list", tasks=wrong)
    assert "there is no task 'c'" in await mine.refused("validate_task_list", tasks=[{**tasks[1], "needs": ["c"]}])


async def test_what_was_run_and_what_stands_by_is_told(mine: Host) -> None:
    assert await mine.call("get_execution_history") == "No task list was run here."
    assert await mine.call("get_hook_status") == "No hooks are configured."
    assert "No service runs" in await mine.call("check_websocket_status")
    listed = (await mine.client.read_resource("rlm://runs")).contents[0].text
    record = (await mine.client.read_resource(f"rlm://runs/{listed.split()[0]}")).contents[0].text
    assert "in the record" in record
    assert json.loads(record.splitlines()[-1])["type"] == "completion.end"


async def test_runs_in_progress_are_shown_and_steered(mine: Host) -> None:
    assert await mine.call("monitor_execution") == "No run is in progress."
    assert "no run is in progress" in await mine.refused("control_execution", run="last", action="pause")
    await mine.run("x = 1")
    (line,) = (await mine.call("monitor_execution")).splitlines()
    run = line.split()[0]
    at = {"run": run[:8], "why": "tea"}
    assert json.loads(await mine.call("control_execution", action="pause", **at))["state"] == "paused"
    assert json.loads(await mine.call("monitor_execution", run="last"))["state"] == "paused"
    assert json.loads(await mine.call("control_execution", action="resume", **at))["state"] == "running"
    for value, cap in (("7", 7), (" 1_000", 1_000), ("none", None)):
        stands = await mine.call("control_execution", action="set", given=f"tool_budget={value}", **at)
        assert json.loads(stands)["budget"]["tool_budget"] == cap
    for wrong in ("tool_budget", "tools=1", "tool_budget=-1", ""):
        await mine.refused("control_execution", action="set", given=wrong, **at)
    assert "no turns" in await mine.refused("control_execution", action="say", given="hello", **at)
    assert "no child" in await mine.refused("control_execution", action="cancel", given="3f2a", **at)
    assert "no run in progress begins with" in await mine.refused("monitor_execution", run="../x")
    await mine.call("destroy_session")
    record = (await mine.client.read_resource(f"rlm://runs/{run}")).contents[0].text
    acts = [event["body"] for event in map(json.loads, record.splitlines()) if event["type"] == "control"]
    assert [act["action"] for act in acts] == ["pause", "resume", "set", "set", "set"]
    assert {act["why"] for act in acts} == {"tea"}
    assert acts[0]["who"].startswith("mcp client ")


async def test_the_prompt_teaches_the_loop(mine: Host) -> None:
    (message,) = (await mine.client.get_prompt("rlm", {"task": "count the errors", "path": "big.log"})).messages
    assert "count the errors" in message.content.text
    assert "answer_queries" in message.content.text


async def test_the_client_s_user_is_asked_before_a_tool_that_needs_approval(user: User) -> None:
    (user.home / ".config" / "rlm").mkdir(parents=True)
    settings = f'[rlm]\nallowed_paths = ["{user.cwd}"]\n[hooks]\napprove = ["fs.write_file"]\n'
    (user.home / ".config" / "rlm" / "config.toml").write_text(settings)
    asked: list[str] = []

    async def answer(_context: object, params: ElicitRequestFormParams) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"allow": "yes.txt" in params.message})

    async with host(user, "stdio", LEGACY, elicitation_callback=answer) as connected:
        for name in ("yes.txt", "no.txt"):
            said = await connected.run(f"fs.write_file({name!r}, '1')\nprint(fs.read_file('yes.txt'))")
    assert "nobody allowed fs.write_file" in said
    assert [path.name for path in sorted(user.cwd.glob("*.txt"))] == ["yes.txt"]
    assert len(asked) == 2
    async with host(user, "stdio", LEGACY) as silent:
        assert "nobody allowed" in await silent.run("fs.write_file('yes.txt', '2')")


async def test_a_configured_model_does_a_task_list(user: User) -> None:
    model = user.script("```repl\nFINAL('one')\n```", "```repl\nprint(context); FINAL('two')\n```")
    async with host(user, "stdio", LEGACY, "--model", model) as connected:
        said = await connected.call("run_task_list", tasks=["Say 1", "Say 2"])
        assert "2 of 2 tasks completed" in said
        assert "== task-2: completed\ntwo" in said
        assert '"task": "task-1"' in await connected.call("get_execution_history")


async def test_a_configured_model_answers_and_does_whole_runs(user: User) -> None:
    big_log(user.cwd)
    model = user.script("blue", "```repl\nFINAL(context.count('ERROR'))\n```")
    async with host(user, "stdio", LEGACY, "--model", model) as connected:
        names = {tool.name for tool in (await connected.client.list_tools()).tools}
        assert "run_rlm" in names
        assert "answer_queries" not in names
        assert await connected.run("llm_query('which colour?')") == "'blue'"
        said = await connected.call("run_rlm", prompt="how many errors?", path="big.log")
        assert said.startswith("100\n")
        assert ": 1 turn, " in said
        (record,) = re.findall(r"rlm://runs/[\w-]+", said)
        assert "how many errors?" in (await connected.client.read_resource(record)).contents[0].text


async def test_what_came_of_a_run_whose_call_was_given_up_is_told(user: User) -> None:
    model = user.script("```repl\nprint('so far')\nwhile True: pass\n```")
    begun = asyncio.Event()

    async def note(_progress: float, _total: float | None, _message: str | None) -> None:
        begun.set()

    async with host(user, "stdio", LEGACY, "--model", model) as connected:
        call = asyncio.ensure_future(connected.client.call_tool("run_rlm", {"prompt": "go"}, progress_callback=note))
        await asyncio.wait_for(begun.wait(), 60.0)
        call.cancel()
        async with asyncio.timeout(60.0):
            while "whose call was given up" not in (said := await connected.call("list_sessions")):
                continue
        assert "ended as cancelled" in said
        assert "rlm://runs/" in said
        assert "given up" not in await connected.call("list_sessions")


async def test_secrets_are_masked_in_what_a_host_sees(mine: Host, place: User) -> None:
    place.write("keys.env", "OPENAI_API_KEY=sk-proj-T3stKq8ZpL0vXw7YbN2mR9dF4gH6jKq8ZpL0vXw7Yb\n")
    said = await mine.call("load_context", path="keys.env")
    said += await mine.run("print(context)\nFINAL(context)")
    assert "REDACTED" in said
    assert "Kq8ZpL0v" not in said
