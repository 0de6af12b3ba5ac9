"""A sink that keeps every event in a list: for tests of this project and of its users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlm.core.events import Event


class MemorySink:
    """Keeps the events that it is given, in order."""

    on_loop = True

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.closed = False

    def write(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.closed = True

    def bodies(self, type_name: str) -> list[Any]:
        """The bodies of all events of that type, in order."""
        return [event.body for event in self.events if event.type == type_name]
