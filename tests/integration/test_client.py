"""`rlm.client` against a real service."""

import asyncio

import pytest

from rlm.client import BlockingClient, Client, WebSocketClient
from rlm.core.exceptions import ConfigError
from rlm.service.messages import NewRun
from tests.integration.test_service import place  # noqa: F401 - a fixture


async def test_a_client_runs_follows_and_steers(place):  # noqa: F811
    async with place.open() as served, Client(served.url, served.token) as client:
        kept = await client.upload(b"x" * 50_000)
        assert (await client.run("how long?", contexts=[kept.id])).value == 50_000
        place.answering.clear()
        note = await client.submit(NewRun(prompt="?", context="data"), key="k")
        assert (await client.submit(NewRun(prompt="?", context="data"), key="k")).id == note.id
        events = client.events(note.id)
        first = await anext(events)
        assert (first.number, first.event.type) == (0, "run.start")
        assert (await client.control(note.id, "pause", why="tea")).state == "paused"
        await client.control(note.id, "resume")
        place.answering.set()
        rest = [each async for each in events]
        assert [each.number for each in rest] == list(range(1, len(rest) + 1))
        assert (await client.result(note.id)).value == 4
        assert [each.number async for each in client.events(note.id, after=len(rest) - 1)] == [len(rest)]
        assert [run.id for run in (await client.runs(count=1)).runs] == [note.id]
        with pytest.raises(ConfigError, match="404"):
            await client.status("ab")


async def test_a_client_that_waits_and_one_of_the_websocket_have_the_same_answers(place):  # noqa: F811
    def waits(url, token):
        with BlockingClient(url, token) as client:
            result = client.run("how long?", "data")
            run_id = client.runs().runs[0].id
            return result.value, [each.event.type for each in client.events(run_id)][-1]

    async with place.open() as served:
        assert await asyncio.to_thread(waits, served.url, served.token) == (4, "completion.end")
        port = int(served.url.rpartition(":")[2])
        socket = WebSocketClient("127.0.0.1", port, served.token)
        found = await socket.execute_command(command="how long?", timeout=60)
        assert (found["success"], found["output_data"], found["error"], found["exit_code"]) == (True, "0", None, 0)
        refused = await socket.execute_command("?", budget={"max_turns": -1})
        assert (refused["success"], refused["exit_code"]) == (False, 2)
