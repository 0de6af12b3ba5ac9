"""The fixtures of the sandbox suite: one running sandbox of each sort for a class of tests, and REPLs in it.

pytest finds them where a test module, or the topmost `conftest.py`, has `pytest_plugins = ("rlm.testing.fixtures",)`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest_asyncio

from rlm.repl.live import Limits
from rlm.testing.openers import TIMEOUT_S, Opener, echo, forget_variables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from rlm.core.interfaces import Repl, Sandbox

_MEMORY, _LITTLE_MEMORY = "1g", "128m"


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """The sandbox with ordinary limits."""
    async with _running(request, Limits()) as running:
        yield running


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def impatient_sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """The sandbox with a short cell timeout, which a cell must obey soon."""
    async with _running(request, Limits(cell_timeout_s=TIMEOUT_S, grace_s=0.3)) as running:
        yield running


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def lenient_sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """The sandbox with a short cell timeout, which a cell may obey as slowly as a loaded machine is."""
    async with _running(request, Limits(cell_timeout_s=TIMEOUT_S, grace_s=60)) as running:
        yield running


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def small_sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """The sandbox with little memory."""
    async with _running(request, Limits(), _LITTLE_MEMORY) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="class")
async def opener(sandbox: Sandbox) -> AsyncIterator[Opener]:
    """Opens REPLs with ordinary limits."""
    async with _opening(sandbox) as opening:
        yield opening


@pytest_asyncio.fixture(loop_scope="class")
async def impatient(impatient_sandbox: Sandbox) -> AsyncIterator[Opener]:
    """Opens REPLs with a short cell timeout."""
    async with _opening(impatient_sandbox) as opening:
        yield opening


@pytest_asyncio.fixture(loop_scope="class")
async def lenient(lenient_sandbox: Sandbox) -> AsyncIterator[Opener]:
    """Opens REPLs with a short cell timeout, whose cells may obey slowly."""
    async with _opening(lenient_sandbox) as opening:
        yield opening


@pytest_asyncio.fixture(loop_scope="class")
async def small(small_sandbox: Sandbox) -> AsyncIterator[Opener]:
    """Opens REPLs with little memory."""
    async with _opening(small_sandbox) as opening:
        yield opening


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def shared_repl(sandbox: Sandbox) -> AsyncIterator[Repl]:
    """The REPL behind `repl`, with what the last test left in it."""
    async with _opening(sandbox) as opening:
        yield await opening(echo=echo)


@pytest_asyncio.fixture(loop_scope="class")
async def repl(shared_repl: Repl) -> Repl:
    """A REPL without a context and without variables, with one function: echo.

    The tests of a class share it, for opening one costs more than most tests do.
    """
    await forget_variables(shared_repl)
    return shared_repl


@asynccontextmanager
async def _running(request: pytest.FixtureRequest, limits: Limits, memory: str = _MEMORY) -> AsyncIterator[Sandbox]:
    assert request.cls is not None
    running: Sandbox = request.cls.make(limits, memory)
    try:
        yield running
    finally:
        await running.aclose()


@asynccontextmanager
async def _opening(sandbox: Sandbox) -> AsyncIterator[Opener]:
    opening = Opener(sandbox)
    try:
        yield opening
    finally:
        await opening.aclose()
