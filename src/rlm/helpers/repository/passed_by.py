"""Names what git would have run for the user and is not run here: hooks and signers. Nothing of it is looked into."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.helpers.repository.status import readable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.core.types import Json
    from rlm.helpers.repository.opening import Repository

COMMIT_HOOKS = ("pre-commit", "prepare-commit-msg", "commit-msg", "post-commit")
PUSH_HOOKS = ("pre-push",)
_CONFIGURED = re.compile(r"hook\.(.*)\.command", re.IGNORECASE | re.DOTALL)
_YES = frozenset(("true", "yes", "on", "1"))
_NAMED = 20


def passed_by(repository: Repository, hooks: Sequence[str], signing: str) -> dict[str, Json]:
    """The facts about the hooks that were not run, and a signature that was asked for by the setting `signing`."""
    found: list[Json] = [*_hooks(repository, hooks)][:_NAMED]
    facts: dict[str, Json] = {"hooks_not_run": found} if found else {}
    return facts | ({"unsigned": True} if repository.settings.value(signing).lower() in _YES else {})


def _hooks(repository: Repository, hooks: Sequence[str]) -> Iterator[str]:
    place = repository.settings.value("core.hookspath")
    folder = repository.top / os.path.expanduser(place) if place else repository.common / "hooks"  # noqa: PTH111
    for name in hooks:
        if os.access(folder / name, os.X_OK) and Path(folder / name).is_file():
            yield name
    for each in repository.settings.every:
        if (configured := _CONFIGURED.fullmatch(each.name)) and _is_for(repository, configured[1], hooks):
            yield readable(configured[1])


def _is_for(repository: Repository, hook: str, hooks: Sequence[str]) -> bool:
    return any(each.name == f"hook.{hook}.event" and each.value in hooks for each in repository.settings.every)
