"""The engine suite over the engines of this package."""

from rlm.jobs.engines.local import LocalEngine
from rlm.runtime.models import BackendPool
from rlm.testing import EngineSuite


class TestLocalEngine(EngineSuite):
    @classmethod
    async def make(cls, backend, *, max_running, max_queued):
        return LocalEngine(BackendPool(backend), max_running=max_running, max_queued=max_queued)
