"""The corpus of attacks over every sandbox, which must hold, and over one that holds nothing: there it has to succeed.

One REPL takes all attacks of a class, or of several, one after another, and has to be as good as new in between.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from rlm import repl
from rlm.core.config import DockerConfig, LocalConfig, WasmConfig
from rlm.core.config.files import user_folder
from rlm.core.interfaces import Sandbox
from rlm.repl.docker.launcher import DOCKER
from rlm.repl.live import Limits
from rlm.repl.local.launcher import LOCAL
from rlm.repl.wasm import deno_runtime, pyodide_files
from rlm.repl.wasm.launcher import WASM
from tests.support import sshd
from tests.support.attacks.assault import Assault
from tests.support.attacks.corpus import KINDS, attempts
from tests.support.attacks.stage import Stage, set_up
from tests.support.attacks.weak import WeakSandbox
from tests.support.attacks.weak_deno import WeakDeno
from tests.support.required import COMPONENTS, TEST_IMAGE, needs

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = Limits(cell_timeout_s=0.4, grace_s=0.3)
PATIENT = Limits(cell_timeout_s=3, grace_s=0.3)
"""For WebAssembly, where the first import of a module takes a third of a second: an attack that time alone ends has
proved nothing, and costs a new REPL."""
PATIENCE_S = 60.0
WEAK_PATIENCE_S = 1.5
MEMORY = "512m"
OF_RESOURCES = ("floods", "integers", "memory", "regexes", "signals", "threads")
"""Classes in which the policy has no part: it is about what code may say, not about what it takes."""
ENDLESS = (*OF_RESOURCES, "forks")
"""Classes whose attacks are to be ended by time."""


def local(policy: str) -> Sandbox:
    return LOCAL.sandbox(LocalConfig(policy=policy, memory=MEMORY), LIMITS)


def docker() -> Sandbox:
    return DOCKER.sandbox(DockerConfig(image=TEST_IMAGE, memory=MEMORY, warm=0), LIMITS)


def wasm(limits: Limits = PATIENT) -> Sandbox:
    return WASM.sandbox(WasmConfig(memory=MEMORY, warm=0), limits)


def ssh() -> Sandbox:
    return sshd.sandbox(LIMITS, memory=MEMORY)


SANDBOXES: dict[str, Callable[[], Sandbox]] = {
    "local-off": lambda: local("off"),
    "local-relaxed": lambda: local("relaxed"),
    "docker": docker,
    "ssh": ssh,
    "wasm": wasm,
    "wasm-hurried": lambda: wasm(LIMITS),
}
EXCEPT = {
    "local-relaxed": OF_RESOURCES,
    "wasm": ENDLESS,
    "wasm-hurried": tuple(kind for kind in KINDS if kind not in ENDLESS),
}
TOGETHER = {"wasm": 5, "wasm-hurried": 4}
"""How many classes one REPL takes where starting another costs a second of CPU; elsewhere each class has its own."""


def trials() -> Iterator[ParameterSet]:
    """A sandbox by name, and the classes of attacks on one REPL of it."""
    for name in SANDBOXES:
        kinds = [kind for kind in KINDS if kind not in EXCEPT.get(name, ())]
        marks = [needs(part) for part in COMPONENTS if name.startswith(part)]
        for start in range(0, len(kinds), step := TOGETHER.get(name, 1)):
            together = kinds[start : start + step]
            yield pytest.param(name, together, id="-".join([name, *together]), marks=marks)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with set_up() as stage:
        yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandboxes(stage: Stage) -> AsyncIterator[dict[str, Sandbox]]:
    """Those that were started, each at its first use and with the stage set: by name."""
    running: dict[str, Sandbox] = {}
    yield running
    for sandbox in running.values():
        await sandbox.aclose()


@pytest.mark.parametrize(("name", "kinds"), list(trials()))
async def test_the_sandbox_holds(sandboxes: dict[str, Sandbox], stage: Stage, name: str, kinds: list[str]) -> None:
    sandbox = sandboxes.get(name) or sandboxes.setdefault(name, SANDBOXES[name]())
    todo = [attempt for kind in kinds for attempt in attempts(kind)]
    assert await Assault(sandbox=sandbox, stage=stage, patience_s=PATIENCE_S).run(todo) == {}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "javascript"])
async def test_the_corpus_bites(stage: Stage, kind: str) -> None:
    weak = Assault(sandbox=WeakSandbox(), stage=stage, patience_s=WEAK_PATIENCE_S)
    todo = [attempt for attempt in attempts(kind) if not attempt.spares_weak]
    assert await weak.run(todo, until_broken=True)


@needs("wasm")
async def test_the_corpus_bites_in_javascript(stage: Stage) -> None:
    running = wasm()
    await running.start()  # which fetches Pyodide where it isn't there yet
    await running.aclose()
    cache = user_folder(os.environ, "XDG_CACHE_HOME", ".cache")
    pyodide = cache and pyodide_files.cached(cache / "wasm")
    assert pyodide
    weak = Assault(sandbox=WeakDeno(deno_runtime.find().binary, pyodide.folder), stage=stage, patience_s=PATIENCE_S)
    assert await weak.run(attempts("javascript"), until_broken=True)


async def test_every_sandbox_is_attacked() -> None:
    assert {name.partition("-")[0] for name in SANDBOXES} == {*repl.SANDBOXES, "ssh"}


async def test_the_corpus_is_large_and_its_names_tell_attempts_apart() -> None:
    names = [(kind, attempt.name) for kind in KINDS for attempt in attempts(kind)]
    assert len(names) == len(set(names)) >= 250
    assert all(len(attempts(kind)) >= 5 for kind in KINDS)
    assert len(KINDS) == 20
