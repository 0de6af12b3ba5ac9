from __future__ import annotations

from rlm.cli.options import Overrides, SandboxOptions


def test_memory_is_that_of_whatever_sandbox_is_in_use() -> None:
    assert Overrides.of(SandboxOptions(memory="2g")).values == {
        "local.memory": "2g",
        "docker.memory": "2g",
        "wasm.memory": "2g",
        "ssh.memory": "2g",
        "e2b.memory": "2g",
    }


def test_what_is_not_given_is_not_set() -> None:
    assert Overrides.of(SandboxOptions(policy="off", mask=None)).values == {"local.policy": "off"}
