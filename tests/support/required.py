"""The one gate between tests and the real components they need: an engine, a browser, a runtime.

What is there is tested. What is absent is named: the tests that need it are skipped by this gate alone, with the way to
get it, and the summary says so once more. What `RLM_REQUIRE` names (a comma-separated list; `.ci/run` sets it) has to
be there: without it, those tests fail. Each component is looked for once by each process that runs tests, at the first
test that needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import node_tools

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from rlm.core.interfaces import Sandbox

TEST_IMAGE = os.environ.get("RLM_TEST_IMAGE", "rlm-test:bookworm")
"""The image of the Docker tests: any with Python 3.11 or later; `.ci/setup` makes one of this name."""
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_INSTALL = "python -m tests.support.node_tools, with npm and a network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """Something real that tests need and a machine may lack."""

    lacks: Callable[[], str | None]
    """What is missing of it, None where it is all there."""
    advice: str
    """How to get it."""


def _docker() -> str | None:
    """Asks as the sandbox does, which leaves no socket open where no engine answers."""
    from rlm.core.exceptions import SandboxUnavailableError
    from rlm.repl.docker.engines import Refused, asking, connect_blocking

    try:
        with contextlib.closing(connect_blocking()) as client, asking():
            client.inspect_image(TEST_IMAGE)
    except Refused as error:
        return f"no image {TEST_IMAGE}" if error.status == 404 else str(error)
    except SandboxUnavailableError as error:
        return str(error).splitlines()[0]
    return None


def _wasm() -> str | None:
    """Gets Pyodide and makes the snapshot where they aren't there yet, as a first run would.

    One process of the tests does it, while the others wait to find it done.
    """
    from rlm.core.config import WasmConfig
    from rlm.core.exceptions import SandboxUnavailableError
    from rlm.repl.wasm.launcher import WASM

    with Path(__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            asyncio.run(_started_once(WASM.sandbox(WasmConfig(warm=0))))
        except SandboxUnavailableError as error:
            return str(error).splitlines()[0]
    return None


async def _started_once(sandbox: Sandbox) -> None:
    try:
        await sandbox.start()
    finally:
        await sandbox.aclose()


def _ssh() -> str | None:
    from tests.support import sshd

    missing = [name for name in ("ssh", "ssh-keygen") if not shutil.which(name)]
    return f"no program {', '.join(missing)}" if missing else None if sshd.PROGRAM else "no program sshd"


def _browser() -> str | None:
    return None if any(map(shutil.which, _BROWSERS)) else f"none of {', '.join(_BROWSERS)}"


def _program(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"no program {name}"


def _node_tool(name: str) -> Callable[[], str | None]:
    """Puts it on the PATH too, where the tests look for it."""
    return lambda: None if node_tools.put_on_path(name) else f"no program {name}"


def _machine(name: str) -> Callable[[], str | None]:
    return lambda: None if platform.machine() == name else f"this machine is {platform.machine()}"


COMPONENTS: Mapping[str, Component] = {
    "docker": Component(
        lacks=_docker,
        advice=f"start a Docker engine, and tag an image that has Python 3.11 or later as {TEST_IMAGE}, or name one by "
        "RLM_TEST_IMAGE; on Debian, as root, .ci/setup does all that",
    ),
    "wasm": Component(lacks=_wasm, advice="make setup, and a network that the npm registry can be reached by, once"),
    "ssh": Component(lacks=_ssh, advice="install OpenSSH's client and server, which need not be started"),
    "browser": Component(lacks=_browser, advice="install Chromium"),
    "node": Component(lacks=_program("node"), advice="install Node.js"),
    "x86-64": Component(lacks=_machine("x86_64"), advice="run them on an x86-64 machine"),
    "claude": Component(lacks=_node_tool("claude"), advice=f"{_INSTALL}, or install Claude Code"),
    "inspector": Component(lacks=_node_tool("inspector"), advice=_INSTALL),
    "acp": Component(lacks=lambda: None if node_tools.find("acp") else "no library of editors", advice=_INSTALL),
    "axe": Component(lacks=lambda: None if node_tools.find("axe") else "no axe-core", advice=_INSTALL),
}
"""By the name that `needs` and `RLM_REQUIRE` know. A new one is one row."""

_used: set[str] = set()
_not_run: Counter[str] = Counter()
"""How many tests of this session were not run for want of each component."""


def needs(*names: str) -> pytest.MarkDecorator:
    """Mark a test, a module (`pytestmark`) or a parameter (`pytest.param(..., marks=needs("docker"))`)."""
    _known(names)
    return pytest.mark.needs(*names)


def require(name: str) -> None:
    """Pass the gate from within a fixture or a test: skips or fails where `name` isn't there."""
    _known([name])
    lacking = find_lack(name)
    if lacking is None:
        _used.add(name)
        return
    reason = f"{name}: {lacking}; {COMPONENTS[name].advice}"
    if name in required(os.environ):
        pytest.fail(f"RLM_REQUIRE names {reason}", pytrace=False)
    _not_run[name] += 1
    pytest.skip(reason)


@cache
def find_lack(name: str) -> str | None:
    """What is missing of a component, None where it is there."""
    return COMPONENTS[name].lacks()


def was_used(name: str) -> bool:
    """A test of this session has passed the gate for it."""
    return name in _used


def required(environ: Mapping[str, str]) -> frozenset[str]:
    """The names in `RLM_REQUIRE`.

    Raises:
        pytest.UsageError: one is no component.
    """
    names = {name.strip() for name in environ.get("RLM_REQUIRE", "").split(",")} - {""}
    return frozenset(_known(names))


def _known(names: Iterable[str]) -> Iterable[str]:
    unknown = sorted(set(names) - set(COMPONENTS))
    if unknown:
        raise pytest.UsageError(f"no component of the tests: {', '.join(unknown)}; there are: {', '.join(COMPONENTS)}")
    return names


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and refuse a wrong `RLM_REQUIRE` before any test runs."""
    config.addinivalue_line("markers", "needs(*names): real components without which the test can't run")
    required(os.environ)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a process that runs tests for another (pytest-xdist) hand over what it used and did not run."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output.update(used=sorted(_used), not_run=dict(_not_run))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take that over, where the session is told of."""
    output = getattr(node, "workeroutput", {})  # one that crashed has none
    _used.update(output.get("used", ()))
    _not_run.update(output.get("not_run", {}))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold a test at the gate before its fixtures are made."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            require(name)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Name what was not run, and how to run it."""
    for name, tests in sorted(_not_run.items()):
        text = f"NOT RUN: {tests} tests that need {name} ({find_lack(name)}). To run them: {COMPONENTS[name].advice}."
        terminalreporter.write_line(text, yellow=True)
