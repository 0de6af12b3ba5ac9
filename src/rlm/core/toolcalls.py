"""Calls a host tool for the model or for guest code: counted, recorded, never raising anything but `RLMError`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rlm.core.events import ToolEnd, ToolStart
from rlm.core.exceptions import ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.budget import Ledger
    from rlm.core.recorder import Span
    from rlm.core.run import Run
    from rlm.core.types import Json


async def call_tool(
    run: Run,
    ledger: Ledger,
    parent: Span,
    name: str,
    arguments: Mapping[str, Json],
    *,
    caller: Literal["model", "guest"],
) -> Json:
    """Call the tool `name` and return its JSON value.

    Raises:
        ToolNotFoundError: there is none; the message names near ones.
        ToolError: it refused or failed.
        ToolBudgetExhausted: no call is left.
    """
    tool = run.tools.get(name)
    ledger.count_tool_call()
    span = parent.child()
    run.recorder.record(span, ToolStart(name=name, arguments=dict(arguments), caller=caller))
    try:
        result = await tool.call(arguments)
    except BaseException as error:
        run.recorder.record(span, ToolEnd(error=f"{type(error).__name__}: {error}"))
        if isinstance(error, Exception) and not isinstance(error, ToolError):
            raise ToolError(f"the tool {name} failed: {type(error).__name__}: {error}") from error
        raise
    run.recorder.record(span, ToolEnd(result=result))
    return result
