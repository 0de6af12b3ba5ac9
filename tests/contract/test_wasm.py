"""The sandbox `wasm` keeps the contract of sandboxes."""

from __future__ import annotations

from rlm.core.config import WasmConfig
from rlm.core.interfaces import Sandbox
from rlm.repl.live import Limits
from rlm.repl.wasm.launcher import WASM
from rlm.testing import SandboxSuite
from tests.contract.unread import UnreadAnswers
from tests.support.required import needs

pytest_plugins = ("rlm.testing.fixtures",)
pytestmark = needs("wasm")


class TestWasm(SandboxSuite, UnreadAnswers):
    @classmethod
    def make(cls, limits: Limits, memory: str) -> Sandbox:
        return WASM.sandbox(WasmConfig(memory=memory, warm=0), limits)
