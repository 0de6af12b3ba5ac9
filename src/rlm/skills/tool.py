"""Offers saved skills to a run as one tool: guest code gets the functions of a skill, a model sees its source.

The tool returns only text; a skill runs in the sandbox of whoever loads it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.plain import one_line
from rlm.repl.guest.carry.skills import LOAD
from rlm.skills.store import Skill, SkillStore, parse_reference
from rlm.store.database import Database, store_path
from rlm.tools.decorator import tool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.core.config import Config
    from rlm.core.interfaces import Tool

_SHOWN_CHARS = 300
_DESCRIPTION = (
    "Load saved code that worked before. In Python `skills.NAME(...)` calls the skill of that name, and "
    "`s = load_skill('NAME')` gives an object with its functions. Skills: "
)


def skill_store(config: Config) -> SkillStore:
    """The skills of the configured store, or of this user.

    Raises:
        ConfigError: neither the configuration nor the environment says where they are kept.
    """
    return SkillStore(Database(store_path(config.store_path, os.environ)))


def offered_skills(config: Config) -> tuple[Tool, ...]:
    """The tool that loads the skills that the configuration names; empty if it names none.

    Raises:
        ConfigError: there is no such skill or version, or one is named twice.
        StoreError: the store can't be used.
    """
    if not config.skills:
        return ()
    store = skill_store(config)
    found: dict[str, Skill] = {}
    for reference in config.skills:
        skill = store.load(*parse_reference(reference))
        if skill.name in found:
            raise ConfigError(f"the setting `skills` names {skill.name!r} twice")
        found[skill.name] = skill
    return (loading_tool(found.values()),)


def loading_tool(skills: Iterable[Skill]) -> Tool:
    """The tool `load_skill` over these skills."""
    known = {skill.name: skill for skill in skills}
    listing = "; ".join(f"`{skill.name}`: {_shown(skill.description)}" for skill in known.values())

    @tool(name=LOAD, description=f"{_DESCRIPTION}{listing}.", reads_only=True)
    async def load(name: str) -> dict[str, Any]:
        if name not in known:
            raise ToolError(f"there is no skill {name[:80]!r} here; the skills are: {', '.join(known)}")
        skill = known[name]
        return {"name": name, "version": skill.version, "description": skill.description, "code": skill.code}

    return load


def _shown(description: str) -> str:
    return one_line(description, _SHOWN_CHARS).rstrip(".")
