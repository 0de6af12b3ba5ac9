"""Asks the hooks of a run at their points: each off the event loop, within its deadline, and on record. A hook that
says no, fails, takes too long or returns something else keeps what it was asked about from going on."""

from __future__ import annotations

import asyncio
import inspect
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rlm.core.events import HookEnded
from rlm.core.exceptions import HookDenied, ToolError
from rlm.core.foreign import Escaped, outcome_of
from rlm.core.off_loop import off_loop_if_large
from rlm.core.texts import change_texts
from rlm.core.types import ExecError, ExecResult
from rlm.hooks.approval import approval_hook, never
from rlm.hooks.loading import LoadedHook, load_hooks
from rlm.hooks.values import POINTS, HookContext, HookResult, is_exact
from rlm.runtime.user_code import CallThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.core.config import HooksConfig
    from rlm.core.interfaces import Masker
    from rlm.core.outcome import Outcome
    from rlm.core.types import Json
    from rlm.hooks.approval import Approver
    from rlm.hooks.values import Hook, HookPoint

APPROVAL_S = 300.0
"""How long somebody may take to answer whether a tool may be called, in seconds."""
_MESSAGE_CHARS = 2_000


class HookSet:
    """The hooks that a configuration names; used on one event loop only."""

    def __init__(self, config: HooksConfig, approver: Approver) -> None:
        """Raises:
        ConfigError: as `load_hooks`.
        """
        self.hooks = load_hooks(config)
        self._timeout_s = config.timeout_s
        self._thread = CallThread()
        if config.approve:
            function = approval_hook(config.approve, approver)
            asks = LoadedHook(name="approve", point="pre_tool", function=function, timeout_s=APPROVAL_S)
            self.hooks = (*self.hooks, asks)

    def has(self, point: HookPoint) -> bool:
        """Whether any is asked there."""
        return any(hook.point == point for hook in self.hooks)

    async def ask(
        self,
        context: HookContext,
        masking: Masker | None,
        note: Callable[[HookEnded], None],
        most_s: float | None = None,
    ) -> None:
        """Ask every hook of a point, in order, until one says no; `note` records each, and `most_s` bounds all.

        Raises:
            HookDenied: one said no, failed, took too long, or returned something else.
        """
        asked = [hook for hook in self.hooks if hook.point == context.point]
        if not asked:
            return
        masked = context
        if masking is not None:
            masked = await off_loop_if_large(change_texts, context, masking.mask, masking.mask_value)
        for hook in asked:
            started, given = time.monotonic(), context if is_exact(hook.function) else masked
            deadline_s = hook.timeout_s or self._timeout_s
            said = await self._said(hook.function, given, deadline_s if most_s is None else min(deadline_s, most_s))
            message = said.message[:_MESSAGE_CHARS]
            took_s = round(time.monotonic() - started, 3)
            note(HookEnded(point=hook.point, name=hook.name, proceed=said.proceed, message=message, duration_s=took_s))
            if not said.proceed:
                raise HookDenied(f"the hook {hook.name} denied {hook.point}: {message or 'it gave no reason'}")

    def close(self) -> None:
        """End the thread of the hooks; idempotent."""
        self._thread.close()

    async def _said(self, function: Hook, context: HookContext, timeout_s: float) -> HookResult:
        """What a hook says; whatever is no clear yes is a no."""

        async def call() -> object:
            answer = function(context)
            return await answer if inspect.isawaitable(answer) else answer

        try:
            async with asyncio.timeout(timeout_s):
                said = await outcome_of(lambda: self._thread.run(call))
        except TimeoutError:
            return HookResult(proceed=False, message=f"it took longer than {timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 - a hook is the user's code: whatever it raises is a no
            text = str(error) if isinstance(error, Escaped) else f"{type(error).__name__}: {error}"
            return HookResult(proceed=False, message=f"it failed: {text}")
        if not isinstance(said, HookResult) or not isinstance(said.proceed, bool) or not isinstance(said.message, str):
            return HookResult(proceed=False, message=f"it returned {said!r:.80}, not a HookResult")
        return said


def hook_rows(config: HooksConfig) -> list[dict[str, Json]]:
    """The hooks of a configuration, in the order in which they are asked: point, name, deadline, and what they see.

    Raises:
        ConfigError: as `load_hooks`.
    """
    hooks = HookSet(config, never)
    hooks.close()
    return [
        {
            "point": hook.point,
            "name": hook.name,
            "timeout_s": hook.timeout_s or config.timeout_s,
            "sees_secrets": is_exact(hook.function),
        }
        for hook in sorted(hooks.hooks, key=lambda hook: POINTS.index(hook.point))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHooks:
    """Implements `Hooks` over the hooks of the configuration, for one run."""

    hooks: HookSet
    about: HookContext
    """What is the same at all points."""
    masking: Masker | None
    note: Callable[[HookEnded], None]

    async def before_run(self) -> None:
        """See `Hooks.before_run`."""
        await self._ask(replace(self.about, point="pre_run"))

    async def before_cell(self, code: str) -> ExecResult | None:
        """See `Hooks.before_cell`."""
        try:
            await self._ask(replace(self.about, point="pre_cell", code=code))
        except HookDenied as denied:
            error = ExecError(kind=HookDenied.__name__, message=str(denied), traceback=f"HookDenied: {denied}")
            return ExecResult(status="error", output="", output_chars=0, duration_s=0.0, error=error)
        return None

    async def before_tool(self, name: str, arguments: Mapping[str, Json]) -> None:
        """See `Hooks.before_tool`."""
        try:
            await self._ask(replace(self.about, point="pre_tool", tool=name, arguments=dict(arguments)))
        except HookDenied as denied:
            raise ToolError(str(denied)) from denied

    async def after_run(self, outcome: Outcome, most_s: float) -> Outcome:
        """See `Hooks.after_run`."""
        error = "" if outcome.error is None else f"{type(outcome.error).__name__}: {outcome.error}"
        point: HookPoint = "post_run" if outcome.success else "on_error"
        about = replace(
            self.about,
            point=point,
            status=outcome.status,
            response=outcome.response,
            error=error,
            cost_usd=outcome.cost_usd,
            duration_s=outcome.duration_s,
        )
        try:
            await self._ask(about, most_s)
        except HookDenied as denied:
            return replace(outcome, status="failed", error=denied) if outcome.success else outcome
        return outcome

    async def _ask(self, context: HookContext, most_s: float | None = None) -> None:
        if self.hooks.has(context.point):
            await self.hooks.ask(context, self.masking, self.note, most_s)
