"""The suites by which a sandbox, a backend or an engine proves that it keeps its contract, here and in other packages.

They need the extra `testing` (pytest and pytest-asyncio), which nothing else in the package imports. A test module::

    from rlm.testing import SandboxSuite

    pytest_plugins = ("rlm.testing.fixtures",)


    class TestMine(SandboxSuite):
        @classmethod
        def make(cls, limits, memory):
            return MINE.sandbox(MySettings(memory=memory), limits)
"""

from __future__ import annotations

import pytest

_REWRITTEN = ("backends", "calls", "cells", "contexts", "engines", "hosts", "interrupts", "limits", "openers")
pytest.register_assert_rewrite(*(f"rlm.testing.{name}" for name in _REWRITTEN))

from rlm.testing.backends import BackendSuite  # noqa: E402 - once its asserts are to be rewritten
from rlm.testing.engines import EngineSuite  # noqa: E402
from rlm.testing.suites import PolicySuite, SandboxSuite  # noqa: E402

__all__ = ["BackendSuite", "EngineSuite", "PolicySuite", "SandboxSuite"]
