"""The way to one far process: the seam between a guest on another machine and what carries its bytes there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a line ended."""

    words: str
    """What the program or service that carried it said, and what to do about it, as far as there is anything to say."""
    code: int | None = None
    """The exit code of the far process, 128 and the signal where one ended it; None where the line was lost."""


class Listener(Protocol):
    """The host's end, as a line calls it: on the event loop, in order, nothing after `line_ended`."""

    def received(self, piece: bytes) -> None:
        """Some bytes of the far process came, cut anywhere."""
        ...

    def pause_writing(self) -> None:
        """More waits to be sent than should."""
        ...

    def resume_writing(self) -> None:
        """It was sent."""
        ...

    def line_ended(self, end: End) -> None:
        """The far process has ended, or can't be reached any more."""
        ...


class FarLine(Protocol):
    """One far process."""

    def write(self, piece: bytes) -> None:
        """Queue bytes for its stdin; dropped once the line has ended."""
        ...

    def unsent_bytes(self) -> int:
        """How much is queued here still."""
        ...

    def heard(self, total_bytes: int) -> None:
        """The far process has read so much of what was written in all."""
        ...

    def pause_reading(self) -> None:
        """Take no more from it for now."""
        ...

    def resume_reading(self) -> None:
        """Go on."""
        ...

    def close(self) -> None:
        """End its stdin, dropping what was not sent: it ends then, and `line_ended` follows. Idempotent."""
        ...

    def abort(self) -> None:
        """Give it up, whatever it does; `line_ended` follows. Idempotent."""
        ...


class Connector(Protocol):
    """Opens lines to one far machine."""

    as_text: bool
    """Its lines carry only text from the far process, which then writes lines of base64."""
    far: str
    """What to call the far machine in messages."""

    @property
    def is_alive(self) -> bool:
        """The machine may take another line; where it is gone for good, another sandbox has to be started."""
        ...

    async def connect(self, command: Sequence[str], listener: Listener) -> FarLine:
        """Run a command there. Raises:
        REPLError: nothing can be run there; says why, and what to do.
        """
        ...

    async def aclose(self) -> None:
        """Give the machine up."""
        ...
