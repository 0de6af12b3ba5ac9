"""A Recursive Language Model runtime.

The public names load at first use, so that `import rlm` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlm.core.budget import Budget
    from rlm.core.config import Config
    from rlm.core.exceptions import RLMError
    from rlm.core.outcome import RLMResult
    from rlm.core.types import Image
    from rlm.runtime.rlm import RLM
    from rlm.runtime.session import Session
    from rlm.runtime.skills import list_skills, load_skill, save_skill
    from rlm.secrets import mask_secrets, mask_value
    from rlm.tools.decorator import tool
    from rlm.version import __version__

__all__ = [
    "RLM", "Budget", "Config", "Image", "RLMError", "RLMResult", "Session",
    "__version__", "list_skills", "load_skill", "mask_secrets", "mask_value", "save_skill", "tool",
]  # fmt: skip

_NAMES = {
    "rlm.core.budget": ["Budget"],
    "rlm.core.config": ["Config"],
    "rlm.core.exceptions": ["RLMError"],
    "rlm.core.outcome": ["RLMResult"],
    "rlm.core.types": ["Image"],
    "rlm.runtime.rlm": ["RLM"],
    "rlm.secrets": ["mask_secrets", "mask_value"],
    "rlm.runtime.session": ["Session"],
    "rlm.runtime.skills": ["list_skills", "load_skill", "save_skill"],
    "rlm.tools.decorator": ["tool"],
    "rlm.version": ["__version__"],
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rlm' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
