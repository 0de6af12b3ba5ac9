"""A service that was stopped or killed and is started again: what was left is taken up, and nothing is done twice."""

import asyncio
import json
import resource
import signal
from pathlib import Path

import msgspec
import pytest

from rlm.backends.scripted import tool_call
from rlm.client import Client
from rlm.core.config import McpServerConfig
from rlm.core.exceptions import ConfigError
from rlm.service.messages import NewRun, ResultNote
from rlm.service.state import RowFilter, ServiceState
from rlm.service.tokens import owner_token
from tests.integration.test_service import place  # noqa: F401 - a fixture
from tests.servers.mcp_servers import argv
from tests.servers.openai_server import openai_server
from tests.support.served import served
from tests.support.service_sequences import Bills, config_for, run_sequence

TASKS = ["task-a", "task-b", "task-c"]


def record_of(place, run_id):  # noqa: F811
    return next(Path(place.config.log_dir).rglob(f"{run_id}.jsonl"))


def cut_after(record, kind):
    """Leave of a record what a killed process leaves, up to the first event of that kind."""
    lines = record.read_text().splitlines(keepends=True)
    last = next(at for at, line in enumerate(lines) if json.loads(line)["type"] == kind)
    record.write_text("".join(lines[: last + 1]))


def row_of(place, run_id):  # noqa: F811
    state = ServiceState(place.folder)
    try:
        return next(row for row in state.page("ann", before=None, kept=RowFilter(), count=9) if row.id == run_id)
    finally:
        state.close()


async def test_a_list_that_was_cut_off_is_gone_on_with_in_order(place):  # noqa: F811
    place.answering.clear()
    async with place.open() as client:
        _, begun = await client.ask("POST", "/execute", {"tasks": TASKS})
        path = f"/executions/{begun['execution_id']}"
        await place.asked.wait()
    place.answering.set()
    async with place.open() as client:
        shown = (await client.ask("GET", f"{path}/status"))[1]
        for task in shown["tasks"]:
            assert (await client.ask("GET", f"/v1/runs/{task['run_id']}/result?wait=60"))[1]["status"] == "completed"
        status, results = await client.ask("GET", f"{path}/results")
        assert (status, results["status"], len(results["results"])) == (200, "completed", 3)
    asked = [next(task for task in TASKS if task in said) for said in place.said]
    assert asked == [TASKS[0], *TASKS], "the call that was cut off is made again, and nothing else"


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_run_with_an_unfinished_tool_fails_and_nothing_is_called_twice(place, tmp_path, is_killed):  # noqa: F811
    calls = tmp_path / "calls"
    server = McpServerConfig(command=argv("legacy"), env={"CALLS_FILE": str(calls)})
    place.config = msgspec.structs.replace(place.config, mcp_servers={"old": server})

    async def reply(_request):
        place.requests += 1
        return tool_call("old__double", a=-1)

    place.reply = reply
    async with place.open() as client:
        _, note = await client.ask("POST", "/v1/runs", {"prompt": "?"})
        async with client.session.get(f"/v1/runs/{note['id']}/events") as answer:
            while await answer.content.readline() != b"event: tool.start\n":
                pass
        async with asyncio.timeout(30):
            while not calls.exists():
                await asyncio.sleep(0.01)
    if is_killed:
        cut_after(record_of(place, note["id"]), "tool.start")
    async with place.open() as client:
        result = (await client.ask("GET", f"/v1/runs/{note['id']}/result?wait=60"))[1]
    assert (result["status"], calls.read_text(), place.requests) == ("failed", "{'a': -1}\n", 1)
    assert result["error"].startswith("UnfinishedCall")


async def test_a_run_that_was_killed_before_it_had_begun_begins(place):  # noqa: F811
    place.answering.clear()
    async with place.open() as client:
        _, note = await client.ask("POST", "/v1/runs", {"prompt": "?", "context": "data"})
        await place.asked.wait()
    cut_after(record_of(place, note["id"]), "run.start")
    place.answering.set()
    async with place.open() as client:
        result = (await client.ask("GET", f"/v1/runs/{note['id']}/result?wait=60"))[1]
        assert (result["status"], result["value"]) == ("completed", 4)
        kinds = [kind for _, kind in await client.events(note["id"])]
        assert (kinds.count("run.start"), kinds.count("completion.end")) == (1, 1)


async def test_what_a_run_had_spent_is_kept_where_it_can_not_be_gone_on_with(place):  # noqa: F811
    token = place.token("ann")

    async def reply(_request):
        place.requests += 1
        if place.requests > 1:
            place.asked.set()
            await asyncio.Event().wait()
        return tool_call("execute_code", code="print(1)")

    place.reply = reply
    async with place.open() as client, client.as_other(token) as ann:
        _, note = await ann.ask("POST", "/v1/runs", {"prompt": "?"})
        await place.asked.wait()
    state = ServiceState(place.folder)
    state.revoke("ann")
    state.close()
    async with place.open():
        row = row_of(place, note["id"])
    assert row.state == "failed"
    result = msgspec.json.decode(row.result, type=ResultNote)
    assert "revoked" in result.error
    assert result.usage["input_tokens"] > 0
    assert row.cost_usd is None, "nobody knows what the call costs that was cut off"


async def test_a_full_disk_is_said_and_what_was_taken_is_kept(tmp_path):
    bills = Bills()
    async with (
        openai_server() as server,
        served(tmp_path, config_for(server, tmp_path), OPENAI_API_KEY="none") as service,
    ):
        server.default = bills
        await service.start()
        async with Client(service.url, owner_token(service.folder)) as client:
            taken = await client.submit(NewRun(prompt="tag-0"))
            await server.arrived.wait()
            limits = resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
            for refused in (client.submit(NewRun(prompt="tag-1")), client.upload(b"x" * 9_000)):
                with pytest.raises(ConfigError, match="507"):
                    await refused
            for _ in range(9):
                bills.may_answer.release()
            ended = await client.result(taken.id)
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, limits)
            assert (await client.run("tag-2")).response == "done tag-2"
            before = {run.id: run.state for run in (await client.runs()).runs}
        await service.end(signal.SIGKILL)
        await service.start()
        async with Client(service.url, owner_token(service.folder)) as client:
            assert {run.id: run.state for run in (await client.runs()).runs} == before
            assert (await client.result(taken.id)) == ended
    assert len(before) == 2, "what was refused was not taken"
    assert (bills.asked["tag-0"], bills.asked["tag-1"], bills.asked["tag-2"]) == (1, 0, 1)


async def test_whatever_happens_every_run_ends_once_and_is_paid_once(tmp_path):
    made = await run_sequence(SEED, tmp_path, STEPS)
    assert made.problems == []
    assert made.steps.keys() >= {"kill", "restart", "vanish", "list", "steer"}, "what was drawn covers what is claimed"


SEED, STEPS = 3, 24
