"""The sandbox `local` keeps the contract of sandboxes."""

from __future__ import annotations

from rlm.core.config import LocalConfig
from rlm.core.interfaces import Sandbox
from rlm.repl.live import Limits
from rlm.repl.local.launcher import LOCAL
from rlm.testing import PolicySuite, SandboxSuite
from tests.contract.unread import UnreadAnswers

pytest_plugins = ("rlm.testing.fixtures",)


class TestLocal(SandboxSuite, UnreadAnswers):
    @classmethod
    def make(cls, limits: Limits, memory: str) -> Sandbox:
        return LOCAL.sandbox(LocalConfig(policy="off", memory=memory), limits)


class TestLocalRelaxed(PolicySuite):
    @classmethod
    def make(cls, limits: Limits, memory: str) -> Sandbox:
        return LOCAL.sandbox(LocalConfig(policy="relaxed", memory=memory), limits)
