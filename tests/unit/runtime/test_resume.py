"""What a run that is taken up again is given, and the settings that it has."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from rlm.core.config import Config, DockerConfig
from rlm.core.events import RunStart
from rlm.core.exceptions import ConfigError
from rlm.runtime.resume import Again, How, recorded_config, resume_request
from rlm.runtime.rlm import RLM
from tests.support.plugins import installed


def started(environment: str) -> RunStart:
    docker = {"image": "of-the-record:1"}
    return RunStart(
        version=1,
        rlm_version="0",
        model="demo",
        sub_model="demo",
        environment=environment,
        budget={"max_turns": 7},
        config={"model": "demo", "docker": docker},
    )


PRESENT = Config(docker=DockerConfig(image="of-today:2"))


def test_the_settings_of_the_run_come_first() -> None:
    config = recorded_config(started("docker"), PRESENT, {})
    assert (config.environment, config.docker.image, config.budget.max_turns) == ("docker", "of-the-record:1", 7)


def test_another_sandbox_has_the_present_settings() -> None:
    config = recorded_config(started("local"), PRESENT, {"environment": "docker"})
    assert (config.environment, config.docker.image) == ("docker", "of-today:2")


def test_an_override_comes_before_both() -> None:
    overrides = {"environment": "docker", "docker.image": "asked:3"}
    assert recorded_config(started("local"), PRESENT, overrides).docker.image == "asked:3"


@pytest.mark.parametrize("name", ["resume", "fork", "replay"])
def test_the_awaited_form_takes_the_same_arguments(name: str) -> None:
    waited, awaited = (inspect.signature(getattr(RLM, prefix + name)).parameters for prefix in ("", "a"))
    assert waited == awaited


def test_a_replay_is_given_what_a_resumed_run_is() -> None:
    assert How.__annotations__.keys() - Again.__annotations__.keys() == {"on_divergence", "redo_unfinished"}


def test_an_unknown_rule_is_refused_before_a_record_is_read() -> None:
    rule: Any = "report"
    with pytest.raises(ConfigError, match="expected stop or continue, got 'report'"):
        resume_request(Path("/nowhere/run.jsonl"), Config(), on_divergence=rule)


def test_a_record_alone_names_no_plug_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entries = {"rlm.sandboxes": {"box": "recorded_plugin:BOX"}}
    installed(monkeypatch, tmp_path, "recorded_plugin", entries, "raise RuntimeError('imported')")
    with pytest.raises(ConfigError, match="'box', which a plug-in adds.*\nname it again: --environment box"):
        recorded_config(started("box"), PRESENT, {})
    assert recorded_config(started("box"), PRESENT, {"environment": "box"}).environment == "box"
    assert recorded_config(started("box"), PRESENT, {"environment": "local"}).environment == "local"
    assert recorded_config(started("box"), Config(environment="box"), {}).environment == "box"
