"""The toys keep the contracts of rlm-runtime, by its own suites."""

from __future__ import annotations

from pathlib import Path

from rlm_plugin_toys.backend import ToyBackend
from rlm_plugin_toys.sandbox import TOY, ToySettings

from rlm.core.interfaces import Backend, Sandbox
from rlm.repl.live import Limits
from rlm.testing import BackendSuite, SandboxSuite

pytest_plugins = ("rlm.testing.fixtures",)


class TestToySandbox(SandboxSuite):
    @classmethod
    def make(cls, limits: Limits, memory: str) -> Sandbox:
        return TOY.sandbox(ToySettings(memory=memory), limits)


class TestToyBackend(BackendSuite):
    @classmethod
    def make(cls, folder: Path) -> Backend:
        return ToyBackend()
