"""The calls that one cell makes of the host's functions: each is checked, answered by a task of its own, and timed."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from rlm.core.exceptions import RLMError
from rlm.core.off_loop import off_loop_if_large
from rlm.repl import frames
from rlm.repl.guest.wire import MAX_CALLS, WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm.core.types import ReplSpec

MAX_WAITING_BYTES = 512 << 20
"""The most memory, in bytes, that the arguments of all waiting calls may take."""

_TOO_MUCH = f"the arguments of the calls that wait take more than {MAX_WAITING_BYTES:,} bytes; wait for some of them"
_RAISED_IN_GUEST = (RLMError, ValueError, TypeError, LookupError, OSError)


class CellCalls:
    """Starts with the cell and is settled when it ends; ids must rise over the life of a guest."""

    def __init__(
        self,
        spec: ReplSpec,
        *,
        send: Callable[[bytes], None],
        on_fault: Callable[[Exception], None],
    ) -> None:
        self._spec = spec
        self._send = send
        self._on_fault = on_fault
        self._waiting: dict[int, asyncio.Task[None]] = {}
        self._weights: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waited_s = 0.0
        self._since: float | None = None
        self._refusal: str | None = None

    @property
    def waited_s(self) -> float:
        """Seconds in which at least one call was outstanding, in all."""
        return self._waited_s + (0.0 if self._since is None else monotonic() - self._since)

    def accept(self, call: frames.GuestCall, received: frames.Received) -> None:
        """Answer a call, as it was received, later. Raises:
        WireError: it breaks the rules.
        """
        if call.name not in self._spec.functions:
            raise WireError(f"a call of {call.name[:50]!r}, which is not bound")
        if len(self._waiting) >= MAX_CALLS:
            raise WireError(f"more than {MAX_CALLS} calls at one time")
        if self._refusal is not None:
            self._send(frames.pack_error(call.id, "TimeoutError", self._refusal))
            return
        if self._weights and sum(self._weights.values()) + received.weight > MAX_WAITING_BYTES:
            self._send(frames.pack_error(call.id, "MemoryError", _TOO_MUCH))
            return
        self._since = self._since or monotonic()
        task = asyncio.get_running_loop().create_task(self._answer(call, received))
        self._waiting[call.id] = task
        self._weights[call.id] = received.weight
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def settle(self, why: str) -> None:
        """Answer all that wait, and all that come, with an error, so that no thread of the guest waits for ever."""
        self._refusal = why
        for call_id, task in list(self._waiting.items()):
            task.cancel()
            self._forget(call_id)
            self._send(frames.pack_error(call_id, "TimeoutError", why))

    async def finish(self) -> None:
        """Wait until what was cancelled has cleaned up."""
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, call: frames.GuestCall, received: frames.Received) -> None:
        try:
            answer = await self._spec.call(call.name, received.args, received.kwargs)
            reply = await off_loop_if_large(frames.pack_reply, call.id, answer)
        except _RAISED_IN_GUEST as e:
            reply = frames.pack_error(call.id, type(e).__name__, frames.error_message(e))
        except WireError as e:
            reply = frames.pack_error(call.id, "ValueError", f"the answer of {call.name} is too large: {e}")
        except Exception as e:  # noqa: BLE001 - a fault of the host: raised to its caller, never shown to guest code
            self._on_fault(e)
            return
        self._forget(call.id)
        self._send(reply)

    def _forget(self, call_id: int) -> None:
        self._waiting.pop(call_id, None)
        self._weights.pop(call_id, None)
        if not self._waiting and self._since is not None:
            self._waited_s += monotonic() - self._since
            self._since = None
