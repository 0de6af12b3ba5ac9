"""`rlm logs`: filters, search, the index, and exports, over records of real runs."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.integration.cli import User, fenced
from tests.support.fork_server import ForkServer

PICTURE = b"\x89PNG\r\n\x1a\n" + b"\0" * 8 + (10).to_bytes(4, "big") * 2 + b"\0" * 40


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer) -> Path:
    """The records of a run that completed and of one that reached its limit."""
    with User(tmp_path_factory.mktemp("two-runs"), fork_server) as user:
        user.rlm("run", "first question", "--model", user.script(fenced("print('needle')"), fenced("FINAL('=1+1')")))
        user.rlm("run", "second question", "--max-turns", "1", "--model", user.script(fenced("x = 1"), "best"))
    return user.logs


@pytest.fixture
def user(user: User, two_runs: Path) -> User:
    """With both records, as nobody has looked at them yet."""
    shutil.copytree(two_runs, user.logs)
    return user


def prompts(user: User, *filters: str) -> list[str]:
    return [run["prompt"] for run in json.loads(user.rlm("logs", "list", "--json", *filters).stdout)]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ((), ["second question", "first question"]),
        (("--status", "completed"), ["first question"]),
        (("--status", "limit", "--status", "completed"), ["second question", "first question"]),
        (("--text", "SECOND"), ["second question"]),
        (("--since", "1h", "--until", "2999-01-01"), ["second question", "first question"]),
        (("--until", "2001-01-01T10:00"), []),
        (("--model", "nothing"), []),
        (("--min-cost", "0.01"), []),
        (("-n", "1"), ["second question"]),
    ],
)
def test_runs_are_filtered(user: User, filters: tuple[str, ...], found: list[str]) -> None:
    assert prompts(user, *filters) == found


@pytest.mark.parametrize("wrong", [("--status", "great"), ("--order", "luck"), ("--since", "yesterdayish")])
def test_a_wrong_filter_exits_2(user: User, wrong: tuple[str, ...]) -> None:
    done = user.rlm("logs", "list", *wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert repr(wrong[1]) in done.stderr


def test_a_text_is_found(user: User) -> None:
    done = user.rlm("logs", "grep", "needle")
    assert done.returncode == 0
    assert "model.end text: ```repl print('needle') ```" in done.stdout
    assert "exec.start" not in done.stdout  # the same text of the same turn
    hits = [json.loads(line) for line in user.rlm("logs", "grep", "needle", "--json").stdout.splitlines()]
    assert {hit["type"] for hit in hits} >= {"exec.start", "exec.output", "model.end"}
    assert user.rlm("logs", "grep", "needle", "last").returncode == 1
    assert user.rlm("logs", "grep", "needle", "--all").stdout == done.stdout


def test_the_index_is_made_again(user: User) -> None:
    first = user.rlm("logs", "index").stdout
    assert first.startswith("2 runs, ")
    (user.logs / "index.sqlite").write_bytes(b"junk" * 5000)
    assert user.rlm("logs", "index").stdout.endswith("2 runs were new or had changed\n")
    assert user.rlm("logs", "index").stdout.endswith("0 runs were new or had changed\n")
    assert user.rlm("logs", "index", "--rebuild").returncode == 0


def test_runs_are_exported_into_files(user: User) -> None:
    for kind in ("json", "csv", "otlp", "sft"):
        done = user.rlm("logs", "export", "--format", kind, "-o", f"out.{kind}")
        assert (done.returncode, done.stdout) == (0, "")
    documents = json.loads((user.cwd / "out.json").read_text())
    assert [document["run"]["prompt"] for document in documents] == ["second question", "first question"]
    with (user.cwd / "out.csv").open(newline="") as file:
        assert {row["kind"] for row in csv.DictReader(file)} == {"completion", "turn", "model", "exec"}
    [chat] = map(json.loads, (user.cwd / "out.sft").read_text().splitlines())
    assert (chat["response"], chat["messages"][0]["role"]) == ("=1+1", "system")
    assert len((user.cwd / "out.otlp").read_text().splitlines()) == 2


def test_a_file_is_replaced_only_when_asked(user: User) -> None:
    user.write("out.json", "mine")
    refused = user.rlm("logs", "export", "last", "-o", "out.json")
    assert refused.returncode == 2
    assert "--force replaces it" in refused.stderr
    assert user.rlm("logs", "export", "last", "-o", "out.json", "--force").returncode == 0


@pytest.mark.parametrize(
    "wrong", [("--format", "xml"), ("--endpoint", "http://localhost"), ("--format", "otlp", "--endpoint", "ftp://x/")]
)
def test_a_wrong_export_exits_2(user: User, wrong: tuple[str, ...]) -> None:
    assert user.rlm("logs", "export", *wrong).returncode == 2


@pytest.fixture
def collector() -> Iterator[tuple[str, list[dict[str, object]], list[int]]]:
    """An address, the requests it gets, and the status it answers with."""
    received: list[dict[str, object]] = []
    status = [200]

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append({"type": self.headers["Content-Type"], "key": self.headers["x-key"], **json.loads(body)})
            self.send_response(status[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", received, status
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_go_to_a_collector(user: User, collector: tuple[str, list[dict[str, object]], list[int]]) -> None:
    address, received, status = collector
    send = ("logs", "export", "last", "--format", "otlp", "--endpoint", address)
    assert user.rlm(*send, OTEL_EXPORTER_OTLP_HEADERS="x-key=se%20cret").returncode == 0
    [request] = received
    assert (request["type"], request["key"], "resourceSpans" in request) == ("application/json", "se cret", True)
    status[0] = 503
    refused = user.rlm(*send)
    assert refused.returncode == 1
    assert "answered 503" in refused.stderr


def test_a_collector_that_is_not_there_exits_1(user: User) -> None:
    done = user.rlm("logs", "export", "--format", "otlp", "--endpoint", "http://127.0.0.1:9/v1/traces")
    assert done.returncode == 1
    assert "can't be reached" in done.stderr


def test_images_are_named(user: User) -> None:
    (user.cwd / "a.png").write_bytes(PICTURE)
    user.rlm("run", "what is it?", "--image", "a.png", "--model", user.script(fenced("FINAL(1)")))
    shown = user.rlm("logs", "show")
    assert f"image: image/png, {len(PICTURE)} bytes" in shown.stdout
