"""The sandboxes, for what has to come out alike whichever carries a run: each by its name, with the settings of a test.

They are those of the table in `rlm.repl`: a new one has no settings here at first, and the tests of all of them fail.
"""

from __future__ import annotations

from typing import Any

import pytest

from rlm.core.config import DockerConfig, LocalConfig, WasmConfig
from rlm.repl import SANDBOXES
from tests.support.required import COMPONENTS, TEST_IMAGE, needs

COLD: dict[str, Any] = {"docker": DockerConfig(image=TEST_IMAGE, warm=0), "wasm": WasmConfig(warm=0)}
"""Sections of `Config` by which no guest is started ahead of need: a test that opens one REPL would pay for two."""
_SECTIONS: dict[str, dict[str, Any]] = {"local": {"local": LocalConfig(policy="off")}, "docker": COLD, "wasm": COLD}
EACH = tuple(pytest.param(name, marks=needs(name) if name in COMPONENTS else ()) for name in SANDBOXES)
"""The name of each as a parameter, which needs what its sandbox does."""
in_each = pytest.mark.parametrize("environment", EACH)
"""Runs a test once per sandbox, by its name."""


def settings_of(environment: str) -> dict[str, Any]:
    """Of `Config`, to run there."""
    return {"environment": environment, **_SECTIONS[environment]}
