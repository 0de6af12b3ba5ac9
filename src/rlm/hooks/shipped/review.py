"""`review`: what a run or a task changed in the workspace is counted, and refused where a file holds secrets then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rlm.files.seen import FilesSeen
from rlm.hooks.values import HookResult
from rlm.secrets import masker

if TYPE_CHECKING:
    from rlm.hooks.values import HookContext

_FILE_BYTES = 1 << 20
"""A larger file is not looked into."""
_NAMED = 5
_before: dict[tuple[str, str], FilesSeen] = {}


def look(context: HookContext) -> HookResult:
    """Take note of the files that there are."""
    _before[context.run_id, context.task] = FilesSeen.of(map(Path, context.workspace))
    return HookResult(proceed=True)


def review(context: HookContext) -> HookResult:
    """Say what has changed since; refuse it where a file that was created or modified holds a secret."""
    before = _before.pop((context.run_id, context.task), None)
    if before is None:
        return HookResult(proceed=True)
    now = FilesSeen.of(map(Path, context.workspace))
    created, modified = now.created_since(before), now.modified_since(before)
    removed = before.files.keys() - now.files.keys()
    if exposed := [path for path in (*created, *modified) if _has_secret(Path(path))]:
        return HookResult(proceed=False, message=f"secrets were written to {', '.join(exposed[:_NAMED])}")
    return HookResult(
        proceed=True, message=f"{len(created)} files created, {len(modified)} modified, {len(removed)} removed"
    )


def forget(context: HookContext) -> HookResult:
    """Forget the files of a run that went wrong."""
    _before.pop((context.run_id, context.task), None)
    return HookResult(proceed=True)


def _has_secret(path: Path) -> bool:
    masking = masker("secrets")
    try:
        content = path.read_bytes() if path.stat().st_size <= _FILE_BYTES else b""
    except OSError:
        return False
    text = content.decode("utf-8", "replace")
    return masking is not None and masking.mask(text) != text


HOOKS = {"pre_run": look, "post_run": review, "on_error": forget, "pre_task": look, "post_task": review}
