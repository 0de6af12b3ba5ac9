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
    from rlm.core.types import Image, RLMResult
    from rlm.runtime import RLM
    from rlm.tools.decorator import tool
    from rlm.version import __version__

__all__ = ["RLM", "Budget", "Config", "Image", "RLMError", "RLMResult", "__version__", "tool"]

_HOMES = {
    "RLM": "rlm.runtime",
    "Budget": "rlm.core.budget",
    "Config": "rlm.core.config",
    "Image": "rlm.core.types",
    "RLMError": "rlm.core.exceptions",
    "RLMResult": "rlm.core.types",
    "__version__": "rlm.version",
    "tool": "rlm.tools.decorator",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rlm' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
