"""The service over real HTTP: runs of several tokens, their events and results, uploads, and what is refused."""

import asyncio
import contextlib
import io
import json

import aiohttp
import pytest

from rlm import Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.config import ServiceConfig
from rlm.service.server import serving
from rlm.service.state import ServiceState
from rlm.service.tokens import Rights, add_token, owner_token


class Place:
    """A folder for a service, and the model behind it, each of whose replies waits while it is held."""

    def __init__(self, root):
        self.folder = root / "service"
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked = asyncio.Event()
        self.requests = 0
        self.said = []
        self.code = "print('x' * 2000)\nFINAL(len(context or ''))"
        self.config = Config(
            model="held/m",
            environment="local",
            log_dir=str(root / "logs"),
            allowed_paths=(str(root / "data"),),
            service=ServiceConfig(port=0, drain_s=0.001),
        )

    async def reply(self, request):
        self.requests += 1
        self.said.append("\n".join(message.content for message in request.messages))
        self.asked.set()
        await self.answering.wait()
        return tool_call("execute_code", code=self.code)

    @contextlib.asynccontextmanager
    async def open(self):
        """The service, with a way to ask it as its owner."""
        served = serving(self.config, self.folder, ScriptedBackend(self.reply))
        async with served as found, Client(found.url, owner_token(self.folder)) as client:
            yield client

    def token(self, name, **rights):
        state = ServiceState(self.folder)
        try:
            return add_token(state, name, Rights(**rights))
        finally:
            state.close()


class Client:
    def __init__(self, url, token):
        self.url, self.token = url, token

    @property
    def openai(self):
        """How OpenAI's own client is made for it."""
        return {"base_url": f"{self.url}/v1", "api_key": self.token, "max_retries": 0}

    async def __aenter__(self):
        self.session = aiohttp.ClientSession(self.url, headers={"Authorization": f"Bearer {self.token}"})
        return self

    async def __aexit__(self, *_exc):
        await self.session.close()

    def as_other(self, token):
        return Client(self.url, token)

    async def ask(self, method, path, body=None, **headers):
        async with self.session.request(method, path, json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if "json" in answer.content_type else text

    async def answered(self, **asked):
        status, note = await self.ask("POST", "/v1/runs", asked)
        assert status == 202, note
        status, result = await self.ask("GET", f"/v1/runs/{note['id']}/result?wait=60")
        assert status == 200, result
        return note["id"], result

    async def events(self, run_id, after=None):
        """All events, as (number, type), with the end."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        async with self.session.get(f"/v1/runs/{run_id}/events", headers=headers) as answer:
            parts = (await answer.text()).split("\n\n")
        fields = [dict(line.split(": ", 1) for line in part.splitlines()) for part in parts if part]
        return [(int(each["id"]) if "id" in each else None, each["event"]) for each in fields]


@pytest.fixture
async def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "data").mkdir()
    return Place(tmp_path)


async def test_a_run_is_taken_followed_steered_and_answered(place):
    place.answering.clear()
    async with place.open() as client:
        body = {"prompt": "how long?", "context": "data"}
        status, note = await client.ask("POST", "/v1/runs", body, **{"Idempotency-Key": "k1"})
        assert (status, note["state"], note["prompt"]) == (202, "queued", "how long?")
        again = await client.ask("POST", "/v1/runs", body, **{"Idempotency-Key": "k1"})
        assert (again[0], again[1]["id"]) == (202, note["id"])
        assert (await client.ask("POST", "/v1/runs", {"prompt": "?"}, **{"Idempotency-Key": "k1"}))[0] == 422
        path = f"/v1/runs/{note['id']}"
        await place.asked.wait()
        live = asyncio.ensure_future(client.events(note["id"]))
        status, paused = await client.ask("POST", f"{path}/control", {"action": "pause", "why": "tea"})
        assert (status, paused["state"], paused["progress"]["prompt"]) == (200, "paused", "how long?")
        assert (await client.ask("GET", f"{path}/result"))[0] == 202
        await client.ask("POST", f"{path}/control", {"action": "resume"})
        place.answering.set()
        status, result = await client.ask("GET", f"{path}/result?wait=60")
        assert (status, result["status"], result["value"], result["run_id"]) == (200, "completed", 4, note["id"])
        whole = await live
        assert [number for number, _ in whole[:-1]] == list(range(len(whole) - 1))
        assert whole[-2:] == [(len(whole) - 2, "completion.end"), (None, "end")]
        assert "control" in {kind for _, kind in whole}
        assert await client.events(note["id"], after=3) == whole[4:]
        assert (await client.ask("POST", f"{path}/control", {"action": "pause"}))[0] == 409
        listed = (await client.ask("GET", "/v1/runs?limit=1"))[1]
        assert ([run["id"] for run in listed["runs"]], listed["next"]) == ([note["id"]], None)
        assert note["id"] in (await client.ask("GET", "/v1/runs?format=csv"))[1]
        assert 'rlm_runs{state="completed"} 1' in (await client.ask("GET", "/metrics"))[1]


async def test_an_answer_has_its_sources_from_the_run_and_from_its_record(place):
    place.code = "FINAL('a fox', sources=['brown fox'])"
    async with place.open() as client:
        run_id, result = await client.answered(prompt="what?", context="the quick\nbrown fox")
    async with place.open() as client:
        again = (await client.ask("GET", f"/v1/runs/{run_id}/result"))[1]
    (source,) = result["sources"]
    assert (source["quote"], source["found"], source["line"]) == ("brown fox", "exact", 2)
    assert again["sources"] == result["sources"]


async def test_runs_are_listed_by_state_model_time_and_text_and_counted(place):
    async with place.open() as client:
        run_id, _ = await client.answered(prompt="How many orders were LATE?")
        for _ in range(3):
            await client.answered(prompt="another")
        place.answering.clear()
        place.asked.clear()
        live = (await client.ask("POST", "/v1/runs", {"prompt": "in progress"}))[1]["id"]
        await place.asked.wait()

        async def found(query):
            return [run["id"] for run in (await client.ask("GET", f"/v1/runs?{query}"))[1]["runs"]]

        assert await found("state=running") == [live]
        assert await found("state=queued") == await found("state=paused") == await found("model=none") == []
        assert await found("text=orders%20were%20late") == [run_id]
        assert await found("until=1") == []
        assert len(await found("since=1&model=held/m")) == 5
        assert len(await found("state=completed&limit=2")) == 2
        async with client.session.get("/v1/runs?state=completed&limit=3&format=csv") as answer:
            assert len((await answer.text()).splitlines()) == 4
            following = answer.links["next"]["url"]
        async with client.session.get(following) as answer:
            assert run_id in (await answer.text()).splitlines()[1]
            assert "next" not in answer.links
        counted = (await client.ask("GET", "/metrics"))[1]
        assert 'rlm_runs{state="completed"} 4\n' in counted
        assert 'rlm_runs{state="running"} 1\n' in counted
        place.answering.set()


async def test_data_is_uploaded_once_and_read_where_the_token_may(place, tmp_path):
    (tmp_path / "data" / "in.txt").write_text("12345678")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "secret.txt")
    async with place.open() as client:
        async with client.session.post("/v1/contexts", data=b"a" * 70_000) as answer:
            kept = await answer.json()
        assert kept["size_bytes"] == 70_000
        assert (await client.answered(prompt="?", contexts=[kept["id"]]))[1]["value"] == 70_000
        assert (await client.answered(prompt="?", paths=[str(tmp_path / "data" / "in.txt")]))[1]["value"] == 8
        for path in ("secret.txt", "data/link", "data/../secret.txt"):
            assert (await client.ask("POST", "/v1/runs", {"prompt": "?", "paths": [f"{tmp_path}/{path}"]}))[0] == 403
        assert (await client.ask("DELETE", f"/v1/contexts/{kept['id']}"))[0] == 204
        assert (await client.ask("GET", "/v1/contexts"))[1] == {"contexts": []}
        assert (await client.ask("POST", "/v1/runs", {"prompt": "?", "contexts": [kept["id"]]}))[0] == 404


async def test_a_token_has_its_own_runs_models_caps_and_day(place):
    limited = place.token("ann", models=("held/m",), max_runs=1)
    poor = place.token("bob", cost_budget_usd_per_day=0.0)
    async with place.open() as client, client.as_other(limited) as ann, client.as_other(poor) as bob:
        run_id, _ = await client.answered(prompt="?", context="owner's")
        for path in (f"/v1/runs/{run_id}", f"/v1/runs/{run_id}/events", f"/v1/runs/{run_id}/result"):
            assert (await ann.ask("GET", path))[0] == 404
        assert (await ann.ask("POST", f"/v1/runs/{run_id}/control", {"action": "cancel"}))[0] == 404
        assert (await ann.ask("GET", "/v1/runs"))[1]["runs"] == []
        assert (await ann.ask("GET", "/metrics"))[0] == 403
        assert (await ann.ask("POST", "/v1/runs", {"prompt": "?", "model": "other/m"}))[0] == 403
        assert (await ann.ask("POST", "/v1/runs", {"prompt": "?", "budget": {"max_turns": 999}}))[0] == 403
        assert (await bob.ask("POST", "/v1/runs", {"prompt": "?"}))[0] == 429
        place.answering.clear()
        assert (await ann.ask("POST", "/v1/runs", {"prompt": "?", "budget": {"max_turns": 3}}))[0] == 202
        status, problem = await ann.ask("POST", "/v1/runs", {"prompt": "?"})
        assert (status, problem["title"]) == (429, "Too Many Requests")
        place.answering.set()


async def test_what_no_client_of_this_service_sends_is_refused(place):
    async with place.open() as client, client.as_other("wrong") as stranger:
        assert await stranger.ask("GET", "/health") == (200, {"status": "ok"})
        status, problem = await stranger.ask("GET", "/v1/runs")
        assert (status, problem["status"], problem["type"]) == (401, 401, "about:blank")
        assert (await client.ask("GET", "/v1/runs", Host="evil.example"))[0] == 421
        assert (await client.ask("GET", "/v1/runs", Origin="http://evil.example"))[0] == 403
        assert (await client.ask("GET", "/v1/nothing"))[0] == 404
        assert (await client.ask("POST", "/v1/runs", {"prompt": "?", "promt": 1}))[0] == 422
        assert (await client.ask("POST", "/v1/runs", {"prompt": ""}))[0] == 422
        assert (await client.ask("POST", "/v1/runs", {"prompt": "?", "budget": {"max_turns": -1}}))[0] == 422
        assert (await client.ask("POST", "/v1/runs", {"prompt": "?", "environment": "no such"}))[0] == 422
        assert (await client.ask("POST", "/execute", {"tasks": ["one", ""]}))[0] == 422
        assert (await client.ask("POST", "/execute", {"tasks": []}))[0] == 422
        assert (await client.ask("GET", "/v1/runs"))[1] == {"runs": [], "next": None}
        assert (await client.ask("GET", "/v1/runs?before=x"))[0] == 422
        async with client.session.post("/v1/runs", data=b"{") as answer:
            assert answer.status == 422
        async with client.session.post("/v1/runs", data=io.BytesIO(b" " * (17 << 20))) as answer:
            assert answer.status == 413
    assert place.requests == 0


async def test_a_service_that_is_stopped_goes_on_with_its_runs_when_it_is_back(place):
    place.answering.clear()
    async with place.open() as client:
        _, note = await client.ask("POST", "/v1/runs", {"prompt": "?", "context": "data"})
        await place.asked.wait()
        async with client.session.get(f"/v1/runs/{note['id']}/events") as answer:
            assert await answer.content.readline() == b"id: 0\n"
        (_, before) = await client.ask("GET", f"/v1/runs/{note['id']}")
        assert before["state"] == "running"
    place.answering.set()
    async with place.open() as client:
        status, result = await client.ask("GET", f"/v1/runs/{note['id']}/result?wait=60")
        assert (status, result["status"], result["value"]) == (200, "completed", 4)
        assert result["run_id"] != note["id"]
        whole = await client.events(note["id"])
    assert [number for number, _ in whole[:-1]] == list(range(len(whole) - 1))
    assert [kind for _, kind in whole].count("completion.end") == 1
