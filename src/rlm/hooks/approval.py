"""A ready-made hook: somebody is asked before certain tools are called. Where nobody can be asked, the answer is no."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from rlm.core.foreign import in_thread
from rlm.core.plain import plain
from rlm.hooks.values import HookContext, HookResult, exact

if TYPE_CHECKING:
    from collections.abc import Iterable

Approver: TypeAlias = Callable[[str, str], Awaitable[bool]]
"""Asks somebody a question about a run, given by its id, that is answered by yes or no."""
_TERMINAL = "/dev/tty"
_SHOWN_CHARS = 500


def approval_hook(patterns: Iterable[str], approver: Approver) -> Callable[[HookContext], Awaitable[HookResult]]:
    """A hook that asks before tools whose names fit a pattern; `git_push` fits `git.push` too."""
    wanted = tuple(patterns)

    @exact
    async def approve(context: HookContext) -> HookResult:
        names = (context.tool, context.tool.replace(".", "_"))
        if not any(fnmatchcase(name, pattern) for name in names for pattern in wanted):
            return HookResult(proceed=True)
        given = ", ".join(f"{name}={value!r}" for name, value in context.arguments.items())
        shown = given if len(given) <= _SHOWN_CHARS else f"{given[:_SHOWN_CHARS]}... ({len(given):,} characters)"
        question = plain(f"run {context.run_id[:8]} asks for {context.tool}({shown}): allow it?")
        if await approver(context.run_id, question):
            return HookResult(proceed=True, message="allowed")
        return HookResult(proceed=False, message=f"nobody allowed {context.tool}")

    return approve


async def ask_terminal(_run_id: str, question: str) -> bool:
    """Ask whoever sits at the terminal of this process; no where it has none, or the answer isn't `y` or `yes`."""
    return await in_thread(lambda: _asked(question))


async def never(_run_id: str, _question: str) -> bool:
    """Where nobody can be asked."""
    await asyncio.sleep(0)
    return False


def _asked(question: str) -> bool:
    try:
        with open(_TERMINAL, "r+b", buffering=0) as terminal:  # noqa: PTH123 - a device
            terminal.write(f"\r\n{question} [y/N] ".encode("utf-8", "replace"))
            answer = terminal.readline(100)
    except OSError:
        return False
    return answer.strip().lower() in (b"y", b"yes")
