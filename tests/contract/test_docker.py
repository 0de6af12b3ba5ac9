"""The sandbox `docker` keeps the contract of sandboxes."""

from __future__ import annotations

from rlm.core.config import DockerConfig
from rlm.core.interfaces import Sandbox
from rlm.repl.docker.launcher import DOCKER
from rlm.repl.live import Limits
from rlm.repl.owners import LABEL, Owner
from rlm.testing import SandboxSuite
from tests.contract.unread import UnreadAnswers
from tests.support.engines import client
from tests.support.required import TEST_IMAGE, needs

pytest_plugins = ("rlm.testing.fixtures",)
pytestmark = needs("docker")


class TestDocker(SandboxSuite, UnreadAnswers):
    @classmethod
    def make(cls, limits: Limits, memory: str) -> Sandbox:
        return DOCKER.sandbox(DockerConfig(image=TEST_IMAGE, memory=memory, warm=0), limits)

    @classmethod
    def guests(cls, host: int) -> set[int]:
        """The containers of the host; the engine started them."""
        with client() as api:
            found = api.containers(filters={"label": LABEL})
            mine = [each["Id"] for each in found if (owner := Owner.of(each["Labels"])) and owner.pid == host]
            return {api.inspect_container(each)["State"]["Pid"] for each in mine}
