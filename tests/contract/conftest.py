"""One running sandbox per kind and module; each test opens its own REPLs in it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from rlm.core.interfaces import Repl, Sandbox
from tests.contract.repls import IMPATIENT, LENIENT, PLAIN, SANDBOXES, SMALL, Opener, echo, rows


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=rows(SANDBOXES))
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    running = SANDBOXES[request.param]()
    yield running
    await running.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=rows(PLAIN))
async def plain_sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    running = PLAIN[request.param]()
    yield running
    await running.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=rows(IMPATIENT))
async def impatient_sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    running = IMPATIENT[request.param]()
    yield running
    await running.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=rows(LENIENT))
async def lenient_sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    running = LENIENT[request.param]()
    yield running
    await running.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=rows(SMALL))
async def small_sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    running = SMALL[request.param]()
    yield running
    await running.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def opener(sandbox: Sandbox) -> AsyncIterator[Opener]:
    """Opens REPLs in every kind of sandbox."""
    opening = Opener(sandbox)
    yield opening
    await opening.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def plain(plain_sandbox: Sandbox) -> AsyncIterator[Opener]:
    """Opens REPLs without a policy."""
    opening = Opener(plain_sandbox)
    yield opening
    await opening.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def impatient(impatient_sandbox: Sandbox) -> AsyncIterator[Opener]:
    """Opens REPLs with a short cell timeout."""
    opening = Opener(impatient_sandbox)
    yield opening
    await opening.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def lenient(lenient_sandbox: Sandbox) -> AsyncIterator[Opener]:
    """Opens REPLs with a short cell timeout, whose cells may obey slowly."""
    opening = Opener(lenient_sandbox)
    yield opening
    await opening.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def small(small_sandbox: Sandbox) -> AsyncIterator[Opener]:
    """Opens REPLs with little memory."""
    opening = Opener(small_sandbox)
    yield opening
    await opening.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def repl(opener: Opener) -> Repl:
    """A REPL without a context, with one function: echo."""
    return await opener(echo=echo)
