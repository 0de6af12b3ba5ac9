"""The sandbox `local` keeps the contract of sandboxes."""

from __future__ import annotations

from rlm.core.config import LocalConfig
from rlm.core.interfaces import Sandbox
from rlm.repl.live import Limits
from rlm.repl.local.launcher import LOCAL
from rlm.testing import PolicySuite, SandboxSuite
from rlm.testing.openers import Opener, echo, shown
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


async def test_a_strict_cell_awaits_the_functions_of_the_host() -> None:
    sandbox = LOCAL.sandbox(LocalConfig(policy="strict"), Limits())
    opener = Opener(sandbox)
    try:
        repl = await opener(echo=echo)
        assert shown(await repl.execute("x = await echo(1)\n[x, await echo(2), echo(3)]")) == "[1, 2, 3]"
    finally:
        await opener.aclose()
        await sandbox.aclose()
