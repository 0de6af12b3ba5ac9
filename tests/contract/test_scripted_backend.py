"""The scripted fake keeps the contract of the backends it stands for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rlm.backends.scripted import ScriptedBackend
from rlm.core.exceptions import BackendError
from rlm.core.interfaces import Backend
from rlm.core.types import ModelRequest
from rlm.testing import BackendSuite


async def answer(request: ModelRequest) -> str:
    if request.model == "fail":
        raise BackendError("it can't be asked")
    if request.model == "hang":
        await asyncio.Event().wait()
    return request.messages[-1].content


class TestScripted(BackendSuite):
    @classmethod
    def make(cls, folder: Path) -> Backend:
        return ScriptedBackend(answer)
