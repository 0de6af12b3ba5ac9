"""The environment `auto`: the first sandbox that works, said aloud; a named one is never replaced."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rlm import repl
from rlm.core.config import Config
from rlm.core.contexts.context import Context
from rlm.core.exceptions import ConfigError, SandboxUnavailableError
from rlm.core.types import Choice, ReplSpec, Traits
from rlm.repl.auto import AutoSandbox
from tests.support.plugins import installed
from tests.support.programs import ProgramSandbox

SPEC = ReplSpec(call=lambda *_: None)
starts: list[str] = []


class Working(ProgramSandbox):
    """It can be started, and says so."""

    closed = 0

    @classmethod
    def from_config(cls, config: Config) -> Working:
        return cls()

    @property
    def traits(self) -> Traits:
        return Traits(threads=False)

    async def start(self) -> None:
        starts.append("working")
        await asyncio.sleep(0)

    async def aclose(self) -> None:
        type(self).closed += 1


class Lacking(Working):
    """It can't run here."""

    async def start(self) -> None:
        starts.append("lacking")
        raise SandboxUnavailableError("something\nis missing")


class Misconfigured(Working):
    """What is wrong with it is the user's to know."""

    async def start(self) -> None:
        raise ConfigError("allowed_imports: no such package")


@pytest.fixture(autouse=True)
def nothing_started() -> None:
    starts.clear()
    Working.closed = Lacking.closed = 0


def offer(monkeypatch: pytest.MonkeyPatch, **kinds: type) -> None:
    for name, kind in kinds.items():
        monkeypatch.setitem(repl.SANDBOXES, name, f"{__name__}:{kind.__name__}")


def auto(**settings: Any) -> AutoSandbox:
    sandbox = repl.load("auto").from_config(Config(**settings))
    assert isinstance(sandbox, AutoSandbox)
    return sandbox


async def test_the_first_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, local=Working, wasm=Lacking, docker=Lacking)
    sandbox = auto()
    await sandbox.start()
    assert sandbox.traits == Traits(threads=False, choice=Choice(environment="local"))
    assert starts == ["working"]


async def test_what_is_passed_over_is_kept_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, local=Lacking, wasm=Lacking, docker=Working)
    sandbox = auto()
    repl_ = await sandbox.open(Context.empty(), SPEC)
    assert (await repl_.execute('[["say", "x"]]')).output == "x"
    assert sandbox.traits.choice == Choice(
        environment="docker", passed_over=dict.fromkeys(("local", "wasm"), "something\nis missing")
    )
    assert Lacking.closed == 2


async def test_where_none_works_each_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, local=Lacking, wasm=Lacking, docker=Lacking)
    with pytest.raises(SandboxUnavailableError, match="^no sandbox works here") as caught:
        await auto().start()
    assert caught.value.exit_code == 5
    assert str(caught.value).splitlines()[1:] == [f"{name}: something is missing" for name in repl.SANDBOXES]


async def test_a_wrong_setting_is_no_reason_to_take_another(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, local=Misconfigured, wasm=Working, docker=Working)
    with pytest.raises(ConfigError, match="allowed_imports"):
        await auto().start()
    assert starts == []


async def test_runs_that_begin_together_choose_once(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, local=Lacking, wasm=Working, docker=Working)
    sandbox = auto()
    await asyncio.gather(sandbox.start(), sandbox.start(), sandbox.open(Context.empty(), SPEC))
    assert starts == ["lacking", "working"]
    await sandbox.aclose()
    assert Working.closed == 1


async def test_closing_what_never_started_is_nothing() -> None:
    await auto().aclose()


def test_auto_is_the_default_and_takes_what_starts_fastest_first() -> None:
    assert Config().environment == "auto"
    assert list(repl.SANDBOXES) == ["local", "wasm", "docker"]


async def test_a_plug_in_is_never_taken_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    offer(monkeypatch, local=Lacking, wasm=Lacking, docker=Lacking)
    source = "from rlm.repl.sandbox import Kind\nBOX = Kind(name='box', section=None, start=None, probe=None)"
    installed(monkeypatch, tmp_path, "auto_box", {"rlm.sandboxes": {"crate": "auto_box:BOX"}}, source)
    with pytest.raises(SandboxUnavailableError, match="^no sandbox works here") as caught:
        await auto().start()
    assert "crate" not in str(caught.value)
