"""The parts of a model's text, as the reader finds them; data alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm.core.types import ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """A fenced block."""

    language: str
    """Lower case, empty where none is named."""
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a rule made of the text at one place. Where nothing is set, the text up to `end` doesn't count."""

    end: int
    """Where reading goes on."""
    fence: Fence | None = None
    calls: tuple[ToolCall, ...] = ()
    prose: bool = False
    """Whether it is said as it stands."""
    unopened: bool = False
    """Whether it closes a thought that nothing opened: what was read so far may have been one."""
    closed: bool = True
    """Whether it has the end that it should have; what was cut off has not."""


@dataclass(slots=True, kw_only=True)
class Passages:
    """The parts of a text, each kind in its order."""

    fences: list[Fence] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    """Tool calls written as markup."""
    prose: str = ""
    """What is neither thought nor fence nor call."""
    spoken: str = ""
    """All but the thoughts: fences and calls are in it as they were written."""
    incomplete: bool = False
    """Whether a fence or call was left out."""
    cut: bool = False
    """Whether the text was cut off: its last words are not to be relied on."""
    earlier: Passages | None = None
    """What stood before a closing tag that nothing opened: a thought, if anything worth hearing came after it."""

    @property
    def is_code(self) -> bool:
        """Whether it is code and nothing else."""
        return bool(self.calls or self.fences) and not self.prose.strip()

    @property
    def blank(self) -> bool:
        """Whether nothing is said."""
        return not (self.prose.strip() or self.calls or any(fence.code.strip() for fence in self.fences))
