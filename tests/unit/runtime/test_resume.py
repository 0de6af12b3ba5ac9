"""What settings a run taken up again has."""

from rlm.core.config import Config, DockerConfig
from rlm.core.events import RunStart
from rlm.runtime.resume import recorded_config


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
