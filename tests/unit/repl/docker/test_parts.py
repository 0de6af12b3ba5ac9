"""The parts of the Docker sandbox that need no engine: streams, interrupts, owners, clocks, contexts, the bootstrap."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm.core.exceptions import ConfigError, REPLError, SandboxUnavailableError
from rlm.repl import owners
from rlm.repl.docker import containers, contexts, engines, meters
from rlm.repl.docker.channels import Demultiplexer
from rlm.repl.docker.engines import DockerEngine
from rlm.repl.guest.supervisor import INTERRUPT, Incoming
from rlm.repl.guest.wire import HEADER, pack
from rlm.repl.owners import Owner
from rlm.repl.spool_folders import note
from rlm.runtime.inputs import prepare


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    """The stream in pieces of those sizes, the rest as one."""
    pieces = []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]
    return [*pieces, stream]


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40))), st.lists(st.integers(1, 20)))
def test_streams_come_apart_however_they_are_cut(blocks: list[tuple[int, bytes]], sizes: list[int]) -> None:
    stream = b"".join(bytes([kind, 0, 0, 0]) + len(block).to_bytes(4, "big") + block for kind, block in blocks)
    streams, found = Demultiplexer(), {True: b"", False: b""}
    for piece in cut(stream, sizes):
        for is_frames, part in streams.feed(piece):
            found[is_frames] += part
    assert found == {want: b"".join(block for kind, block in blocks if (kind == 1) == want) for want in (True, False)}


@given(st.lists(st.none() | st.text(max_size=30)), st.lists(st.integers(1, 20)))
def test_interrupts_keep_their_place_between_frames(said: list[str | None], sizes: list[int]) -> None:
    frames = [HEADER.pack(0, INTERRUPT) if text is None else pack({"text": text}) for text in said]
    incoming, found = Incoming(), []
    for piece in cut(b"".join(frames), sizes):
        found += incoming.feed(piece)
    marked = b"".join(b"<interrupt>" if item is None else bytes(item) for item in found)
    assert marked == b"".join(b"<interrupt>" if text is None else pack({"text": text}) for text in said)


def test_an_owner_is_read_back_from_its_labels() -> None:
    owner = Owner.here()
    assert Owner.of(owner.labels) == owner
    assert not owner.is_gone
    assert Owner.of({"rlm.owner": "x"}) is None


def test_an_owner_is_gone_when_its_process_is_another_or_none() -> None:
    here = Owner.here()
    assert Owner(id="x", pid=here.pid, started="1", machine=here.machine).is_gone
    finished = subprocess.Popen([sys.executable, "-c", "pass"])
    finished.wait()
    assert Owner(id="x", pid=finished.pid, started="1", machine=here.machine).is_gone


def test_an_owner_whose_process_is_hidden_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Owner.here()
    monkeypatch.setattr(owners, "_started", lambda _pid: None)  # /proc mounted with hidepid
    assert not here.is_gone
    finished = subprocess.Popen([sys.executable, "-c", "pass"])
    finished.wait()
    assert Owner(id="x", pid=finished.pid, started="1", machine=here.machine).is_gone


@pytest.mark.parametrize("machine", ["", "another machine"])
def test_an_owner_elsewhere_is_never_judged(machine: str) -> None:
    assert not Owner(id="x", pid=2**22 + 1, started="1", machine=machine).is_gone


@pytest.mark.parametrize(
    ("name", "content", "seconds"),
    [("cpuacct.usage", "1500000000\n", 1.5), ("cpu.stat", "usage_usec 2500000\nuser_usec 1\n", 2.5)],
)
def test_the_clock_of_both_kinds_of_control_groups(tmp_path: Path, name: str, content: str, seconds: float) -> None:
    (tmp_path / name).write_text(content)
    meter = meters.GroupMeter(tmp_path / name)
    assert meter.cpu_s() == pytest.approx(seconds)
    (tmp_path / name).write_text("")
    assert meter.cpu_s() == pytest.approx(seconds)  # the group is gone: what was used stays used
    meter.close()


def test_a_process_of_no_container_has_no_control_group_of_one() -> None:
    assert meters.group_file(os.getpid(), "0" * 64) is None


async def test_a_copy_that_is_removed_leaves_the_links_of_containers(tmp_path: Path) -> None:
    copy = await contexts.copy(tmp_path, prepare("text"))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        contexts.link(copy, tmp_path / name)
    first, second = (tmp_path / name / "context" for name in ("a", "b"))
    assert (first.read_text(), first.samefile(second), first.stat().st_mode & 0o777) == ("text", True, 0o444)
    assert first.stat().st_nlink == 3
    await copy.aclose()
    assert first.stat().st_nlink == 2


async def test_a_copy_without_room_says_where(tmp_path: Path) -> None:
    with pytest.raises(REPLError, match="cannot be kept in .*No such file"):
        await contexts.copy(tmp_path / "folder", prepare("text"))


async def test_only_the_parts_of_a_context_are_copied(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a.txt", "b.txt"):
        (source / name).write_text(name)
    context = prepare(source)
    content = (await contexts.copy(tmp_path, context)).path.read_text()
    told = {name: (start, end) for name, start, end in note(context)["parts"]}
    assert {name: content[start:end] for name, (start, end) in told.items()} == {"a.txt": "a.txt", "b.txt": "b.txt"}


def test_an_old_python_is_told_so() -> None:
    code = f"import sys\nsys.version_info = (3, 9, 2, 'final', 0)\nexec({containers._BOOT!r})"
    done = subprocess.run([sys.executable, "-c", code, "0", "0"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "Python 3.9 is too old; 3.11 or later is needed\n")


def test_the_profile_denies_by_default_and_makes_no_socket() -> None:
    import json

    profile = json.loads(containers._seccomp())
    allowed = {name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert (
        allowed & {"socket", "socketpair", "connect", "ptrace", "bpf", "keyctl", "mount", "unshare", "setns"} == set()
    )
    assert "setpriority" not in allowed, "process 1 could be starved, and would die late"


async def test_an_address_that_carries_no_stream_is_refused() -> None:
    with pytest.raises((ConfigError, SandboxUnavailableError)):
        await DockerEngine.connect({"DOCKER_HOST": "ssh://someone@127.0.0.1:9"})
    with pytest.raises(ConfigError, match="forward the engine's socket"):
        engines._address("ssh://someone@host", None)


async def test_a_socket_that_is_not_allowed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "group docker" in engines._no_answer("unix:///x", "PermissionError(13, 'Permission denied')")
