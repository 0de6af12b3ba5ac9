"""Calls a host tool for the model or for guest code, or serves what the record has of the call: counted, recorded,
never raising anything but `RLMError` and what halts a resumed run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from rlm.core.events import Limit, ToolEnd, ToolStart
from rlm.core.exceptions import LimitReached, ToolError, ToolNotFoundError, UnfinishedCall
from rlm.core.replay.record import revived, revived_limit
from rlm.core.replay.serving import Halt, cut_off

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.budget import Ledger
    from rlm.core.interfaces import Tool
    from rlm.core.replay.record import Recorded
    from rlm.core.replay.serving import Place
    from rlm.core.run import Run
    from rlm.core.types import Json


_CUT_OFF = "the run was cut off while it was called"


async def call_tool(
    run: Run,
    ledger: Ledger,
    place: Place,
    name: str,
    arguments: Mapping[str, Json],
    *,
    caller: Literal["model", "guest"],
) -> Json:
    """Call the tool `name` and return its JSON value; what the record has of the call is not called again.

    Raises:
        ToolNotFoundError: there is none; the message names near ones.
        ToolError: it refused or failed.
        ToolBudgetExhausted: no call is left.
        Halt: an earlier run called it, never saw it answered, and it may have changed things.
    """
    start = ToolStart(name=name, arguments=dict(arguments), caller=caller, key=place.key("tool", name, arguments))
    while (recorded := place.next(start.key or "", "tool")) is not None:
        if recorded.end is not None and not _was_cut(recorded.end.body):
            run.recall.copy(recorded, ledger)
            return _recorded_result(run.recall.read(recorded.end), name)
        await _pass_over(run, ledger, place, recorded)
    if (refusal := place.outcome(start.key or "")) is not None:
        run.recorder.record(place.span, refusal, served=True)
        raise revived_limit(refusal)
    place.go_live(f"{name}({dict(arguments)})")
    return await _call(run, ledger, place, start)


def find_tool(run: Run, name: str) -> Tool:
    """The tool of that name or, where the name has a dot, the operation of a helper.

    Raises:
        ToolNotFoundError: there is none; the message names near ones.
    """
    if run.helpers is not None and "." in name:
        return run.helpers.get(name)
    return run.tools.get(name)


async def _call(run: Run, ledger: Ledger, place: Place, start: ToolStart) -> Json:
    tool = find_tool(run, start.name)
    try:
        ledger.count_tool_call()
    except LimitReached as limit:
        if start.caller == "guest":  # it gets to see that; the model doesn't, for its completion ends
            refusal = Limit(name=limit.limit, state="refused", message=str(limit), key=start.key)
            run.recorder.record(place.span, refusal)
        raise
    span = place.span.child()
    run.recorder.record(span, start)
    try:
        result = await tool.call(start.arguments)
    except BaseException as error:
        run.recorder.record(span, ToolEnd(error=f"{type(error).__name__}: {error}"))
        if isinstance(error, Exception) and not isinstance(error, ToolError):
            raise ToolError(_failed(start.name, f"{type(error).__name__}: {error}")) from error
        raise
    run.recorder.record(span, ToolEnd(result=result))
    return result


def _recorded_result(end: ToolEnd, name: str) -> Json:
    if end.error is None:
        return end.result
    error = revived(end.error)
    raise error if isinstance(error, ToolError) else ToolError(_failed(name, end.error))


async def _pass_over(run: Run, ledger: Ledger, place: Place, recorded: Recorded) -> None:
    """Deal with a recorded call that nobody knows the result of.

    Raises:
        Halt: it may have had effects, and nobody said that it may have them twice.
    """
    assert recorded.start is not None
    name = recorded.start.body.name
    run.recall.copy(recorded, ledger)
    if recorded.end is None:
        run.recorder.record(place.span_of(recorded), ToolEnd(error=_CUT_OFF), served=True)
    if place.has(recorded.key or ""):  # a resumed run called it again
        return
    if place.is_sealed:
        await cut_off()
    if not run.recall.rules.redo_unfinished and not _reads_only(run, name):
        error = UnfinishedCall(
            f"the tool {name} was called and the run was cut off before it answered; it may have changed things\n"
            "look at what it did; --redo-unfinished calls it again"
        )
        raise Halt(error)
    run.recall.warn(f"a call of the tool {name} was under way when the run was cut off: it is called again")


def _reads_only(run: Run, name: str) -> bool:
    try:
        return find_tool(run, name).reads_only
    except ToolNotFoundError:
        return False


def _was_cut(end: ToolEnd) -> bool:
    kind = (end.error or "").partition(":")[0]
    return kind in (asyncio.CancelledError.__name__, _CUT_OFF)


def _failed(name: str, error: str) -> str:
    return f"the tool {name} failed: {error}"
