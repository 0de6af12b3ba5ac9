"""What hostile, broken and vanishing clients do to the service: the right status and a sentence, nothing lost, nothing
left behind, nothing run twice."""

import asyncio
import contextlib
import json
from urllib.parse import urlsplit

import msgspec
import pytest

from rlm.backends.scripted import tool_call
from rlm.core.exceptions import ConfigError, StoreError
from rlm.service import websocket
from rlm.service.server import serving
from rlm.service.state import ServiceState
from tests.integration.test_service import place  # noqa: F401 - a fixture


def patience(place, read_s):  # noqa: F811
    """Have the service wait no longer than that for what a client sends."""
    service = msgspec.structs.replace(place.config.service, read_s=read_s)
    place.config = msgspec.structs.replace(place.config, service=service)


@contextlib.asynccontextmanager
async def raw(client):
    """A connection as bytes."""
    at = urlsplit(client.url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def head(client, method, path, *headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {client.token}", *headers]
    return ("\r\n".join(lines) + "\r\n").encode()


async def dripped(reader, writer, piece):
    """Send a piece again and again until the service hangs up; what it said by then."""
    said = bytearray()

    async def listen():
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(1 << 16):
                said.extend(part)

    listening = asyncio.ensure_future(listen())
    while not listening.done():
        with contextlib.suppress(ConnectionError):
            writer.write(piece)
            await writer.drain()
        await asyncio.wait({listening}, timeout=0.01)
    return bytes(said)


async def test_a_client_that_drips_is_left_alone(place):  # noqa: F811
    patience(place, 0.4)
    async with place.open() as client:
        async with raw(client) as (reader, writer):
            assert await dripped(reader, writer, b"") == b"", "a connection that asks nothing"
        async with raw(client) as (reader, writer):
            writer.write(head(client, "GET", "/v1/runs"))
            assert await dripped(reader, writer, b"X-More: 1\r\n") == b"", "headers without an end"
        for path in ("/v1/runs", "/v1/contexts"):
            async with raw(client) as (reader, writer):
                writer.write(head(client, "POST", path, "Content-Length: 999999", "Connection: close") + b"\r\n")
                said = await dripped(reader, writer, b"[")
                assert b" 408 " in said
                assert b"was not there after 0.4 s" in said
        assert (await client.ask("GET", "/v1/contexts"))[1] == {"contexts": []}
    assert not [each for each in (place.folder / "uploads").rglob("*") if each.is_file()]
    assert place.requests == 0


async def test_bodies_that_are_no_requests_are_refused_with_a_sentence(place):  # noqa: F811
    async with place.open() as client:
        deep = b'{"prompt": "?", "context": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
        for path in ("/v1/runs", "/v1/responses", "/execute", f"/v1/runs/{'0' * 32}/control"):
            for body in (deep, b"\xff", b'{"prompt": NaN}', b"[]", b""):
                async with client.session.post(path, data=body) as answer:
                    text = await answer.text()
                    assert (answer.status, answer.content_type.endswith("json")) == (422, True), (path, body[:9], text)
        for path in ("/v1/runs", "/v1/contexts"):
            async with raw(client) as (reader, writer):
                writer.write(
                    head(client, "POST", path, "Transfer-Encoding: chunked", "Connection: close") + b"\r\nzz\r\n"
                )
                said = await reader.read()
                assert b" 400 " in said
                assert b"Traceback" not in said
        for query in ("limit=-1", "limit=many", "state=odd", "format=xml"):
            assert (await client.ask("GET", f"/v1/runs?{query}"))[0] == 422
        for path in ("/v1/runs/..%2f..%2fetc", "/v1/contexts/..%2f..%2ftoken", "/v1/runs/%00", "/executions/../status"):
            assert (await client.ask("GET", path))[0] in (404, 405)
        assert (await client.ask("DELETE", "/v1/contexts/..%2f..%2f..%2ftoken"))[0] == 404
    assert place.requests == 0
    assert not [each for each in (place.folder / "uploads").rglob("*") if each.is_file()]


async def test_a_result_that_no_json_can_say_is_answered_as_json(place):  # noqa: F811
    async def reply(_request):
        return tool_call("execute_code", code="FINAL([float('nan'), float('inf'), 1.5])")

    place.reply = reply
    async with place.open() as client:
        _, note = await client.ask("POST", "/v1/runs", {"prompt": "?"})
        async with client.session.get(f"/v1/runs/{note['id']}/result?wait=60") as answer:
            found = msgspec.json.decode(await answer.read())
    assert found["status"] == "completed"
    assert found["value"][2] == 1.5


async def test_clients_that_vanish_lose_nothing_and_leave_nothing(place):  # noqa: F811
    place.answering.clear()
    async with place.open() as client:
        for path in ("/v1/runs", "/v1/contexts", "/execute"):
            async with raw(client) as (_, writer):
                writer.write(head(client, "POST", path, "Content-Length: 999999") + b'\r\n{"prompt": "')
        body = json.dumps({"prompt": "?", "context": "data"}).encode()
        lines = ("Idempotency-Key: k", f"Content-Length: {len(body)}", "Content-Type: application/json")
        async with raw(client) as (_, writer):  # goes with its request sent and its answer unread
            writer.write(head(client, "POST", "/v1/runs", *lines) + b"\r\n" + body)
            await writer.drain()
            await place.asked.wait()
        _, note = await client.ask("POST", "/v1/runs", json.loads(body), **{"Idempotency-Key": "k"})
        for path in (f"/v1/runs/{note['id']}/events", f"/v1/runs/{note['id']}/result?wait=60"):
            async with raw(client) as (reader, writer):
                writer.write(head(client, "GET", path) + b"\r\n")
                if "events" in path:
                    await reader.readuntil(b"id: 0\n")
        async with client.session.ws_connect("/ws") as socket:
            await socket.send_json({"jsonrpc": "2.0", "method": "subscribe", "params": {"session_id": note["id"]}})
            await socket.receive()
        place.answering.set()
        status, result = await client.ask("GET", f"/v1/runs/{note['id']}/result?wait=60")
        assert (status, result["status"], place.requests) == (200, "completed", 1)
        assert [run["id"] for run in (await client.ask("GET", "/v1/runs"))[1]["runs"]] == [note["id"]]
    assert not [each for each in (place.folder / "uploads").rglob("*") if each.is_file()]


async def test_odd_messages_on_a_socket_are_answered_by_the_codes_of_the_protocol(place):  # noqa: F811
    stranger = place.token("ann")
    async with place.open() as client, client.as_other(stranger) as ann:
        run_id, _ = await client.answered(prompt="?")
        async with ann.session.ws_connect("/ws", max_msg_size=0) as socket:
            await socket.receive()
            deep = "[" * 100_000 + "]" * 100_000
            big = json.dumps({"jsonrpc": "2.0", "id": "x" * 9_000_000, "method": "none"})
            wrong = '{"jsonrpc": "1.0", "id": 1, "method": "subscribe"}'
            for text, code in (
                (deep, -32700),
                ('{"id": NaN}', -32700),
                (big, -32601),
                ("[3]", -32600),
                (wrong, -32600),
            ):
                await socket.send_str(text)
                found = json.loads((await socket.receive()).data)
                assert (found[0] if isinstance(found, list) else found)["error"]["code"] == code, text[:40]
            await socket.send_bytes(b"{}")
            assert (await socket.receive_json())["error"]["code"] == -32700
            await socket.send_json({"jsonrpc": "2.0", "method": "none"})  # a notification, which has no answer
            batch = [{"jsonrpc": "2.0", "id": at, "method": "none"} for at in range(websocket.MOST_OF_BATCH + 1)]
            await socket.send_json(batch)
            assert (await socket.receive_json())["error"]["code"] == -32600
            for method, extra in (("subscribe", {}), ("control", {"type": "CANCEL"})):
                params = {"session_id": run_id, **extra}
                await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
                assert (await socket.receive_json())["error"]["data"] == {"status": 404}
            revoking = ServiceState(place.folder)
            revoking.revoke("ann")
            revoking.close()
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "execute", "params": {"prompt": "?"}})
            await socket.receive()
            assert socket.close_code == 1008, "a token that was revoked opens nothing any more"
    assert place.requests == 1


async def flood(writer, frame):
    while True:
        writer.write(frame)
        await writer.drain()


async def test_a_socket_that_floods_and_never_reads_is_ended(place, monkeypatch):  # noqa: F811
    monkeypatch.setattr(websocket, "PING_S", 0.2)
    async with place.open() as client:
        upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
        asked = json.dumps({"jsonrpc": "2.0", "id": "x" * 60_000, "method": "none"}).encode()
        frame = b"\x81\xff" + len(asked).to_bytes(8, "big") + bytes(4) + asked  # masked by zeros
        async with raw(client) as (_, writer):
            writer.write(head(client, "GET", "/ws", *upgrade, key) + b"\r\n")
            with pytest.raises(ConnectionError):
                await flood(writer, frame)
        assert (await client.ask("GET", "/health"))[0] == 200


async def test_no_two_services_keep_the_same_state(place):  # noqa: F811
    async with place.open():
        with pytest.raises(ConfigError, match="another process"):
            async with serving(place.config, place.folder):
                raise AssertionError("it served")


async def test_a_clock_that_jumps_back_hides_no_run_and_doubles_none(place, monkeypatch):  # noqa: F811
    now = [2e9]
    monkeypatch.setattr("rlm.service.desk.time.time", lambda: now[0])
    async with place.open() as client:
        made = []
        for jump in (0, -4_000, 90_000, 0, -90_000):
            now[0] += jump
            made.append((await client.answered(prompt="?"))[0])
        listed, before = [], ""
        while before is not None:
            shown = (await client.ask("GET", f"/v1/runs?limit=2&before={before}"))[1]
            listed += [run["id"] for run in shown["runs"]]
            before = shown["next"]
    assert sorted(listed) == sorted(made)


async def test_a_result_that_can_not_be_kept_at_once_is_answered_and_kept_later(place, monkeypatch):  # noqa: F811
    whole, is_full = ServiceState.end, [True]

    def end(self, *given):
        if is_full[0]:
            raise StoreError("the disk is full")
        whole(self, *given)

    monkeypatch.setattr(ServiceState, "end", end)
    async with place.open() as client:
        run_id, result = await client.answered(prompt="?", context="data")
        assert (result["value"], (await client.ask("GET", f"/v1/runs/{run_id}"))[1]["state"]) == (4, "completed")
        is_full[0] = False
        await client.answered(prompt="again")
        kept = ServiceState(place.folder)
        assert kept.unfinished() == []
        kept.close()
    assert place.requests == 2


async def test_what_there_is_no_place_for_is_refused_whole_and_may_be_asked_again(place):  # noqa: F811
    service = msgspec.structs.replace(place.config.service, max_running=1, max_queued=1)
    place.config = msgspec.structs.replace(place.config, service=service)
    place.answering.clear()
    async with place.open() as client:
        first = (await client.ask("POST", "/v1/runs", {"prompt": "?"}))[1]
        await client.ask("POST", "/execute", {"tasks": ["?", "?"]})
        key = {"Idempotency-Key": "k"}
        assert (await client.ask("POST", "/execute", {"tasks": ["?", "?"]}))[0] == 503
        second = (await client.ask("POST", "/v1/runs", {"prompt": "?"}, **key))[1]
        assert (await client.ask("POST", "/v1/runs", {"prompt": "?"}))[0] == 503
        assert {run["id"] for run in (await client.ask("GET", "/v1/runs"))[1]["runs"]} == {first["id"], second["id"]}
        place.answering.set()
        for run in (first, second):
            assert (await client.ask("GET", f"/v1/runs/{run['id']}/result?wait=60"))[1]["status"] == "completed"
        assert (await client.ask("POST", "/v1/runs", {"prompt": "?"}, **key))[1]["id"] == second["id"]
