"""Calls a host tool for the model or for guest code: counted, recorded, never raising anything but `RLMError` and what
halts a resumed run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from rlm.core.error_texts import error_text, revived
from rlm.core.events import ToolEnd, ToolStart, Warned
from rlm.core.events.cell import CUT_OFF
from rlm.core.exceptions import ToolError, ToolNotFoundError, UnfinishedCall
from rlm.core.foreign import Escaped, outcome_of
from rlm.core.off_loop import is_large
from rlm.core.replay.scope import Call, Earlier, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.interfaces import Tool
    from rlm.core.run import Run
    from rlm.core.types import Json

_TOO_LATE = "ToolError: its call was given up while its result was put on record"


async def call_tool(
    run: Run, scope: Scope, name: str, arguments: Mapping[str, Json], *, caller: Literal["model", "guest"]
) -> Json:
    """Call the tool `name` in a scope and return its JSON value.

    Raises:
        ToolNotFoundError: there is none; the message names near ones.
        ToolError: it refused or failed.
        ToolBudgetExhausted: no call is left.
        RecordLimitReached, RecordError: it could not be recorded.
        Halt: an earlier run called it, never saw it answered, and it may have changed things.
    """
    key = await scope.key("tool", name, arguments)
    start = ToolStart(name=name, arguments=dict(arguments), caller=caller, key=key)
    call = Call(
        kind="tool",
        key=key,
        words=f"{name}({'...' if is_large(arguments) else dict(arguments)})",
        make=partial(_call, run, start),
        read=partial(_result_in, name),
        cut_off=lambda _start: ToolEnd(error=CUT_OFF),
        again=partial(_called_again, run, name),
    )
    return await scope.answer(call)


def find_tool(run: Run, name: str) -> Tool:
    """The tool of that name or, where the name has a dot, the operation of a helper.

    Raises:
        ToolNotFoundError: there is none; the message names near ones.
    """
    if run.helpers is not None and "." in name:
        return run.helpers.get(name)
    return run.tools.get(name)


async def _call(run: Run, start: ToolStart, scope: Scope) -> Json:
    tool = find_tool(run, start.name)
    run.recorder.check(scope.ledger.caps.record_bytes)
    scope.ledger.count_tool_call()
    await run.recorder.record_large(scope.span, start)
    left = Warned(message=f"the tool {start.name} goes on though its call was cancelled: it was left behind")
    try:
        if run.hooks is not None:
            await run.hooks.before_tool(start.name, start.arguments)
        result = await outcome_of(lambda: tool.call(start.arguments), lambda: run.recorder.record(scope.span, left))
    except BaseException as error:
        said = str(error) if isinstance(error, Escaped) else error_text(error)
        run.recorder.record(scope.span, ToolEnd(error=said))
        if isinstance(error, Exception) and not isinstance(error, ToolError):
            raise ToolError(_failed(start.name, said)) from error
        raise
    await run.recorder.record_large(scope.span, ToolEnd(result=result), otherwise=ToolEnd(error=_TOO_LATE))
    return result


def _result_in(name: str, earlier: Earlier) -> Json:
    end: ToolEnd = earlier.end
    if end.error is None:
        return end.result
    error = revived(end.error)
    raise error if isinstance(error, ToolError) else ToolError(_failed(name, end.error))


def _called_again(run: Run, name: str, redo: bool) -> str:
    if not redo and not _reads_only(run, name):
        raise UnfinishedCall(
            f"the tool {name} was called and the run was cut off before it answered; it may have changed things\n"
            "look at what it did; --redo-unfinished calls it again"
        )
    return f"a call of the tool {name} was under way when the run was cut off: it is called again"


def _reads_only(run: Run, name: str) -> bool:
    try:
        return find_tool(run, name).reads_only
    except ToolNotFoundError:
        return False


def _failed(name: str, error: str) -> str:
    return f"the tool {name} failed: {error}"
