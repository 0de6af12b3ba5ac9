"""JSON-RPC over a WebSocket, and the paths of cc_executor, over real HTTP."""

import contextlib

import pytest

from tests.integration.test_service import place  # noqa: F401 - a fixture


class Talk:
    """One WebSocket, with requests and their answers, and the notifications that came between."""

    def __init__(self, socket):
        self.socket, self.told, self.ids = socket, [], 0

    async def ask(self, method, **params):
        self.ids += 1
        await self.socket.send_json({"jsonrpc": "2.0", "id": self.ids, "method": method, "params": params})
        while True:
            message = await self.socket.receive_json()
            if message.get("id") == self.ids:
                return message.get("result") or message["error"]
            self.told.append(message)

    async def until(self, *methods):
        while not self.told or self.told[-1]["method"] not in methods:
            self.told.append(await self.socket.receive_json())
        return self.told[-1]["params"]

    def of(self, session_id):
        return [each for each in self.told if each["params"].get("session_id") == session_id]


@contextlib.asynccontextmanager
async def talking(client):
    async with client.session.ws_connect("/ws/mcp", max_msg_size=0) as socket:
        yield Talk(socket)


@pytest.fixture
async def client(place):  # noqa: F811
    async with place.open() as made:
        yield made


async def test_prompts_run_in_order_are_steered_and_told_of_again_by_number(client, place):  # noqa: F811
    place.answering.clear()
    async with talking(client) as talk:
        assert (await talk.until("connected"))["seq"] == 0
        begun = await talk.ask("execute", prompts=["one", "two"])
        session = begun["session_id"]
        await talk.until("process.started")
        assert (await talk.ask("control", session_id=session, type="PAUSE"))["status"] == "paused"
        await talk.until("process.paused")
        assert (await talk.ask("control", session_id=session, type="RESUME"))["session_id"] == session
        place.answering.set()
        ended = await talk.until("process.completed", "process.error")
        assert (ended["success"], [result["value"] for result in ended["results"]]) == (
            True,
            [0, 1],
        )  # what code prints is how much data it has: the answers of those before
        told = talk.of(session)
        assert [each["params"]["seq"] for each in told] == list(range(len(told)))
        methods = [each["method"] for each in told]
        assert [methods.count(each) for each in ("process.started", "process.completed", "process.resumed")] == [
            1,
            1,
            1,
        ]
        outputs = [each["params"]["data"] for each in told if each["method"] == "process.output"]
        assert [len(output) for output in outputs] == [2001, 1, 2001, 1]
        assert begun["run_ids"] == [each["run_id"] for each in ended["results"]]
    async with talking(client) as again:
        await again.ask("subscribe", session_id=session, after=3)
        await again.until("process.completed")
        assert again.of(session) == told[4:]


async def test_what_is_wrong_is_told_by_the_codes_of_the_protocol(client):
    async with talking(client) as talk:
        await talk.until("connected")
        assert (await talk.ask("hook_stats"))["code"] == -32601
        assert (await talk.ask("execute", prompt=3))["code"] == -32602
        assert (await talk.ask("execute"))["data"] == {"status": 422}
        assert (await talk.ask("control", session_id="ab", type="PAUSE"))["data"] == {"status": 404}
        assert (await talk.ask("subscribe", session_id="ab"))["data"] == {"status": 404}
        for text, code in (("{", -32700), ("[]", -32600), ("3", -32600), ('{"jsonrpc": "2.0"}', -32600)):
            await talk.socket.send_str(text)
            assert (await talk.socket.receive_json())["error"]["code"] == code
        batch = [{"jsonrpc": "2.0", "method": "x", "id": number} for number in (1, 2)]
        await talk.socket.send_json(batch)
        assert [each["id"] for each in await talk.socket.receive_json()] == [1, 2]


async def test_a_list_of_tasks_is_taken_shown_and_cancelled(client, place):  # noqa: F811
    place.answering.clear()
    status, begun = await client.ask("POST", "/execute", {"tasks": ["one", "two"], "timeout_per_task": 60})
    path = f"/executions/{begun['execution_id']}"
    assert (status, begun["tasks"]) == (202, 2)
    await place.asked.wait()
    status, shown = await client.ask("GET", f"{path}/status")
    assert (shown["status"], [task["prompt"] for task in shown["tasks"]]) == ("running", ["one", "two"])
    assert (await client.ask("GET", f"{path}/results"))[0] == 202
    assert (await client.ask("DELETE", path))[0] == 200
    first = shown["tasks"][0]["run_id"]
    assert (await client.ask("GET", f"/v1/runs/{first}/result?wait=60"))[1]["status"] == "cancelled"
    status, results = await client.ask("GET", f"{path}/results")
    assert (status, [each["status"] for each in results["results"]]) == (200, ["cancelled", "cancelled"])
    assert place.requests == 1
    assert (await client.ask("GET", "/auth/status"))[1]["models"] == ["held/m"]
    assert (await client.ask("GET", "/.well-known/mcp/rlm.json"))[1]["transport"]["url"].endswith("/ws/mcp")


async def test_tasks_begin_once_what_they_need_has_completed(client):
    tasks = [{"id": "b", "prompt": "two", "needs": ["a"], "context": [1]}, {"id": "a", "prompt": "one"}]
    status, begun = await client.ask("POST", "/v1/task-lists", {"tasks": tasks})
    assert (status, [each["task"] for each in begun["tasks"]]) == (202, ["b", "a"])
    run_id = begun["tasks"][0]["run"]["id"]
    status, shown = await client.ask("GET", f"/v1/task-lists/{begun['id']}?wait=60")
    assert (status, shown["state"]) == (200, "completed")
    async with client.session.get(f"/v1/runs/{run_id}/events") as answer:
        assert "'a'" in (await answer.text())  # the names of its context
    wrong = [{"id": "a", "prompt": "one", "needs": ["b"]}, {"id": "b", "prompt": "two", "needs": ["a", "c"]}]
    status, refused = await client.ask("POST", "/v1/task-lists", {"tasks": wrong})
    assert status == 422
    assert "in a circle" in refused["detail"]
    assert "there is no task 'c'" in refused["detail"]
    executor = [{"id": "a", "prompt": "one", "executor": "claude"}]
    assert (await client.ask("POST", "/v1/task-lists", {"tasks": executor}))[0] == 422
    assert (await client.ask("GET", f"/v1/task-lists/{'0' * 32}"))[0] == 404


async def test_the_hooks_are_told(client):
    async with talking(client) as talk:
        assert await talk.ask("hook_status") == {"enabled": False, "hooks": []}
