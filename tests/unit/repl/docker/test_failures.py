"""The Docker sandbox where its engine fails, hangs or is left in the middle: every wait ends, and nothing is left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker import errors

from rlm.core.config import DockerConfig
from rlm.core.exceptions import REPLError, SandboxUnavailableError
from rlm.repl.deaths import Death
from rlm.repl.docker import channels, containers, meters, sweeping
from rlm.repl.docker.channels import DockerChannel
from rlm.repl.docker.containers import ContainerPlan
from rlm.repl.docker.engines import Address, DockerEngine
from rlm.repl.docker.images import DockerImage
from rlm.repl.owners import LABEL, Owner


class Client:
    """docker-py's client as far as it is needed; `stuck` containers can't be removed."""

    def __init__(self, *, stuck: str = "") -> None:
        self.found: dict[str, dict[str, str]] = {}
        self.removed: list[str] = []
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self._stuck = stuck

    def containers(self, **_filters: Any) -> list[dict[str, Any]]:
        return [{"Id": name, "Labels": labels} for name, labels in self.found.items()]

    def remove_container(self, container: str, **_how: Any) -> None:
        if container == self._stuck:
            raise errors.APIError("device or resource busy")
        self.removed.append(container)

    def create_host_config(self, **config: Any) -> dict[str, Any]:
        return config

    def create_container(self, *_args: Any, **_settings: Any) -> dict[str, Any]:
        self.asked.set()
        self.may_answer.wait()
        return {"Id": "made"}

    def close(self) -> None:
        return


def engine_of(client: Client) -> DockerEngine:
    return DockerEngine(client, Address(shown="here"))


def plan_in(folder: Path) -> ContainerPlan:
    image = DockerImage(id="image", variables=(), volumes=("/data", "/rlm"))
    return ContainerPlan(section=DockerConfig(tmp="1m"), image=image, labels={}, folder=folder)


class Body:
    """A container; `remove` is what its engine makes of that."""

    def __init__(self, remove: Callable[[], Any]) -> None:
        self._remove = remove

    async def remove(self) -> None:
        await self._remove()

    def cpu_s(self) -> float | None:
        return None


async def refused() -> None:
    raise SandboxUnavailableError("no engine")


async def broken() -> None:
    raise RuntimeError("a fault of our own")


async def test_who_waits_for_an_engine_that_hangs_can_leave() -> None:
    client = Client()
    engine = engine_of(client)
    asking = asyncio.create_task(engine.ask(lambda api: api.create_container()))
    await asyncio.to_thread(client.asked.wait)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await engine.aclose()
    assert not engine.is_quiet, "the watchdog has to look after what may yet be made"
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "rlm-docker")
    client.may_answer.set()


async def test_a_container_that_is_made_for_nobody_is_removed(tmp_path: Path) -> None:
    client = Client()
    engine = engine_of(client)
    creating = asyncio.create_task(containers._created(engine, plan_in(tmp_path), None))
    await asyncio.to_thread(client.asked.wait)
    creating.cancel()
    client.may_answer.set()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert client.removed == ["made"]
    assert engine.is_quiet


@pytest.mark.parametrize("remove", [refused, broken, asyncio.Event().wait], ids=["refused", "broken", "hangs"])
async def test_a_channel_ends_whatever_the_engine_does(
    remove: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(channels, "_REMOVAL_S", 0.01)
    monkeypatch.setattr(channels, "_LAST_WORDS_S", 0.01)
    channel = DockerChannel(Body(remove))
    channel.kill()
    async with asyncio.timeout(10):
        await channel.wait_closed()
    assert await channel.death() == (None if remove is broken else Death(cause="engine"))
    assert not channel.is_alive
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)


async def test_a_guest_that_takes_nothing_of_its_context_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "_PUSH_S", 0.01)
    channel = DockerChannel(Body(refused))
    channel._may_write.clear()
    with pytest.raises(REPLError, match="took nothing of its context"):
        await channel.push(b"block")


def test_a_container_that_is_stuck_keeps_nothing_else_from_going() -> None:
    here, client = Owner.here(), Client(stuck="stuck")
    gone = Owner(id="x", pid=here.pid, started="1", machine=here.machine)
    client.found = {"stuck": gone.labels, "other": gone.labels, "living": here.labels}
    sweeping.sweep_containers(client)
    assert client.removed == ["other"]
    client.found = {"stuck": {LABEL: "x"}, "next": {LABEL: "x"}}
    with pytest.raises(errors.APIError):
        sweeping.remove_all_of(client, "x")
    assert client.removed == ["other", "next"]


async def test_who_is_cancelled_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    begun = threading.Event()
    usual = sweeping.Watchdog
    monkeypatch.setattr(sweeping, "Watchdog", lambda *given: (begun.set(), usual(*given))[1])
    founding = asyncio.create_task(sweeping.Estate.found())
    await asyncio.to_thread(begun.wait)
    founding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await founding
    assert list(tmp_path.iterdir()) == []


async def test_a_watchdog_that_cannot_start_is_said_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "none"))
    with pytest.raises(SandboxUnavailableError, match="folder and watchdog"):
        await sweeping.Estate.found()
    assert list(tmp_path.iterdir()) == []


async def test_the_clock_goes_on_after_an_engine_that_did_not_answer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "_ASK_EVERY_S", 0.0)
    known: list[Any] = [REPLError("busy"), {}, {"cpu_stats": {"cpu_usage": {"total_usage": 2_000_000_000}}}]
    read = asyncio.Event()

    async def ask() -> Any:
        if not known:
            read.set()
            await asyncio.Event().wait()
        if isinstance(answer := known.pop(0), Exception):
            raise answer
        return answer

    meter = meters.AskedMeter(ask)
    await read.wait()
    assert meter.cpu_s() == 2.0
    meter.close()


async def test_credentials_in_an_address_are_not_shown() -> None:
    with pytest.raises(SandboxUnavailableError) as refusal:
        await DockerEngine.connect({"DOCKER_HOST": "tcp://bob:hunter2@127.0.0.1:1"})
    assert "tcp://127.0.0.1:1" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_volumes_of_an_image_are_no_places_to_write_to(tmp_path: Path) -> None:
    mounts = containers._hardening(plan_in(tmp_path))["tmpfs"]
    assert mounts["/data"].startswith("ro,")
    assert sorted(mounts) == ["/data", "/tmp"]


async def test_no_room_for_the_folder_of_a_container_is_said(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailableError, match="No such file or directory"):
        await containers.start(engine_of(Client()), plan_in(tmp_path / "none"), mounts=True)
