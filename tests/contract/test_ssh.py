"""The sandbox `ssh` keeps the contract of sandboxes, on a real sshd of this machine."""

from __future__ import annotations

from rlm.core.interfaces import Sandbox
from rlm.repl.live import Limits
from rlm.testing import SandboxSuite
from tests.contract.unread import UnreadAnswers
from tests.support import sshd
from tests.support.required import needs

pytest_plugins = ("rlm.testing.fixtures",)
pytestmark = needs("ssh")


class TestSsh(SandboxSuite, UnreadAnswers):
    @classmethod
    def make(cls, limits: Limits, memory: str) -> Sandbox:
        return sshd.sandbox(limits, memory=memory)

    @classmethod
    def guests(cls, host: int) -> set[int]:
        """The processes at the other end, and ssh at this one."""
        return sshd.far_processes(host) | sshd.below(host)
