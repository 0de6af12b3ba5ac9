"""Hooks: code of the user's that is asked at named points of a run or a task, and may keep it from going on."""

from rlm.hooks.values import HookContext, HookResult, exact

__all__ = ["HookContext", "HookResult", "exact"]
