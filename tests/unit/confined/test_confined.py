"""What runs confined reads the files that it was given, and can do nothing else."""

from __future__ import annotations

import pytest

from rlm.confined.launcher import CallFailed, ConfinedCall, ConfinedServer
from rlm.processes import worker
from tests.architecture.sources import ROOT

FUNCTIONS = "tests.support.confined_functions"


@pytest.fixture(scope="module")
def confined():
    folders = [*worker.package_folders(), str(ROOT)]
    with pytest.MonkeyPatch.context() as patch, ConfinedServer() as server:
        patch.setattr(worker, "package_folders", lambda: folders)
        yield server


def call(name: str, *, timeout_s: float = 60.0, **arguments: str) -> ConfinedCall:
    return ConfinedCall(target=f"{FUNCTIONS}:{name}", arguments=arguments, memory_bytes=256 << 20, timeout_s=timeout_s)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "x").write_text("content")
    with (tmp_path / "x").open("r+b") as opened:
        yield opened.fileno()


def test_it_reads_the_files_that_it_is_given(confined, file):
    assert list(confined.call(call("content"), [file])) == ["content"]


@pytest.mark.parametrize("name", ["write_file", "connect", "run_program"])
def test_it_writes_connects_and_runs_nothing(confined, file, tmp_path, name):
    with pytest.raises(CallFailed, match="PermissionError"):
        list(confined.call(call(name), [file]))
    assert (tmp_path / "x").read_text() == "content"


@pytest.mark.parametrize("name", ["read_path", "write_path"])
def test_it_opens_no_other_file(confined, file, tmp_path, name):
    with pytest.raises(CallFailed, match="PermissionError"):
        list(confined.call(call(name, path=str(tmp_path / "x")), [file]))
    assert (tmp_path / "x").read_text() == "content"


@pytest.mark.parametrize(
    ("name", "timeout_s", "why"),
    [
        ("take_memory", 60.0, "it takes more than the 256 MB of memory it may"),
        ("take_time", 0.2, "it takes longer than 0.2 s"),
        ("end", 60.0, "it said nothing more"),
    ],
)
def test_it_ends_with_its_limits_and_the_next_call_works(confined, file, name, timeout_s, why):
    with pytest.raises(CallFailed, match=why):
        list(confined.call(call(name, timeout_s=timeout_s)))
    assert list(confined.call(call("content"), [file])) == ["content"]


def test_a_result_that_nobody_wants_to_its_end_holds_nothing_up(confined, file):
    endless = confined.call(call("endless"))
    assert next(endless) == 0
    endless.close()
    assert list(confined.call(call("content"), [file])) == ["content"]


def test_a_server_that_was_killed_is_started_again(confined, file):
    assert confined._server is not None
    confined._server.kill()
    confined._server.wait()
    with pytest.raises(CallFailed):
        list(confined.call(call("content"), [file]))
    assert list(confined.call(call("content"), [file])) == ["content"]


def test_a_closed_one_makes_no_calls():
    confined = ConfinedServer()
    confined.close()
    with pytest.raises(CallFailed, match="closed"):
        list(confined.call(call("content")))
