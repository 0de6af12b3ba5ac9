"""Settings that name each sandbox, for what has to come out alike whichever carries a run."""

from __future__ import annotations

from typing import Any

import pytest

from rlm.core.config import DockerConfig, LocalConfig, WasmConfig
from tests.support.required import TEST_IMAGE, needs

_SECTIONS: dict[str, dict[str, Any]] = {
    "local": {"local": LocalConfig(policy="off")},
    "docker": {"docker": DockerConfig(image=TEST_IMAGE, warm=0)},
    "wasm": {"wasm": WasmConfig(warm=0)},
}


def settings_of(environment: str) -> dict[str, Any]:
    """Of `Config`, to run there."""
    return {"environment": environment, **_SECTIONS[environment]}


in_each = pytest.mark.parametrize(
    "environment",
    ["local", pytest.param("docker", marks=needs("docker")), pytest.param("wasm", marks=needs("wasm"))],
)
"""Runs a test once per sandbox, by its name."""
