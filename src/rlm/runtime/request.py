"""What a run is asked: the one value that the command line, Python, and the MCP server hand to `open_run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import ConfigError

if TYPE_CHECKING:
    from rlm.core.budget import Ledger
    from rlm.core.config import Config
    from rlm.runtime.images import GivenImages
    from rlm.runtime.permission import Permission
    from rlm.trajectory.resume import Resumption


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A task, what it is about, and the settings that it is done under."""

    prompt: str
    config: Config
    context: Any = None
    """The data, in any form that `prepare` takes."""
    output_type: Any = None
    """What the answer must fit: a type, or a JSON schema as a dict; None: anything."""
    images: GivenImages = ()
    resumption: Resumption | None = None
    """The record of the run that this one resumes, forks or replays."""
    warnings: tuple[str, ...] = ()
    """What the user should know before the run begins, as of settings that were ignored."""
    run_id: str | None = None
    """The id of its run, 32 hex digits; None: a new one."""
    above: Ledger | None = None
    """The ledger that its run shares with others, as those of a batch."""
    permission: Permission | None = None
    """Asked before a tool is called that may change something; None: all that the settings allow is allowed."""
    is_interactive: bool = False
    """The cells come from outside instead of from a model's turns; the prompt only names that in the record."""

    @property
    def is_resumable(self) -> bool:
        """Whether its run may be resumed: not where cells come from outside, for then there are no turns, and not if it
        is a replay, which ends with a report."""
        return not self.is_interactive and (self.resumption is None or not self.resumption.rules.is_replay)

    def __post_init__(self) -> None:
        """Raises:
        ConfigError: the prompt is empty.
        """
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise ConfigError("the prompt is empty: say what is to be done")
