"""What a run that is taken up again is given, and the settings that it has."""

import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest

from rlm.backends.scripted import ScriptedBackend
from rlm.core.config import Config, DockerConfig
from rlm.core.events import RunStart
from rlm.core.exceptions import ConfigError
from rlm.runtime.resume import Again, How, recorded_config, resume_request
from rlm.runtime.rlm import RLM
from rlm.trajectory.places import is_users_own
from tests.support.plugins import installed
from tests.support.programs import ProgramSandbox


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


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record that came with a project, of a run that had more than the default and was cut off."""
    log_dir = str(tmp_path_factory.mktemp("logs"))
    with RLM(ScriptedBackend([]), config=Config(log_dir=log_dir, environment="local", cell_timeout_s=9_999.0)) as rlm:
        rlm._parts.sandboxes["local"] = ProgramSandbox()
        path = rlm.completion("x").trajectory
    assert path is not None
    return path


def test_a_record_that_came_with_a_project_lifts_no_cap(theirs: Path) -> None:
    with pytest.raises(ConfigError, match=r"cell_timeout_s = 9999.0 where .*allows 60.*\n.* RLM_CELL_TIMEOUT_S=9999.0"):
        resume_request(theirs, Config())
    named = resume_request(theirs, Config(), overrides={"cell_timeout_s": 8_000.0})
    assert named.config.cell_timeout_s == 8_000.0
    configured = resume_request(theirs, Config(cell_timeout_s=10_000.0))
    assert configured.config.cell_timeout_s == 9_999.0


def test_a_record_in_the_users_own_folder_keeps_its_caps(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(theirs.parent.parent))
    kept = theirs.parent.parent / "rlm" / "runs" / "project"
    shutil.copytree(theirs.parent, kept)
    assert resume_request(kept / theirs.name, Config()).config.cell_timeout_s == 9_999.0


def test_whose_a_record_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    kept = tmp_path / "state" / "rlm" / "runs" / "project-1"
    kept.mkdir(parents=True)
    (kept.parent / "linked").symlink_to(project)
    places = {
        kept: (None, True),
        kept.parent / "linked" / "logs": (None, False),
        elsewhere: (str(elsewhere), True),
        tmp_path / "third": (str(elsewhere), False),
        project / "logs": (str(project / "logs"), False),
    }
    for folder, (log_dir, is_own) in places.items():
        assert is_users_own(folder / "record.jsonl", log_dir, project) is is_own
    monkeypatch.chdir(tmp_path)
    assert not is_users_own(Path("elsewhere/record.jsonl"), "elsewhere", project)


def test_a_record_alone_names_no_plug_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entries = {"rlm.sandboxes": {"box": "recorded_plugin:BOX"}}
    installed(monkeypatch, tmp_path, "recorded_plugin", entries, "raise RuntimeError('imported')")
    with pytest.raises(ConfigError, match="'box', which a plug-in adds.*\nname it again: --environment box"):
        recorded_config(started("box"), PRESENT, {})
    assert recorded_config(started("box"), PRESENT, {"environment": "box"}).environment == "box"
    assert recorded_config(started("box"), PRESENT, {"environment": "local"}).environment == "local"
    assert recorded_config(started("box"), Config(environment="box"), {}).environment == "box"
