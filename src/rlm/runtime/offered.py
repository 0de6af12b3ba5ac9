"""What guest code is offered beside single tools: helpers over folders, and tables; one toolbox of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.interfaces import Helpers, Tool


def joined(*offered: Helpers | None) -> Helpers | None:
    """The toolboxes that are there as one; None without any."""
    there = tuple(each for each in offered if each is not None)
    return Joined(there) if len(there) > 1 else there[0] if there else None


class Joined:
    """Several toolboxes, whose tools have different names."""

    def __init__(self, boxes: tuple[Helpers, ...]) -> None:
        self._boxes = boxes

    def get(self, name: str) -> Tool:
        """Find a tool by its name.

        Raises:
            ToolNotFoundError: there is none of that name.
        """
        errors = []
        for box in self._boxes:
            try:
                return box.get(name)
            except ToolNotFoundError as error:
                errors.append(str(error))
        raise ToolNotFoundError("; ".join(errors))

    def __contains__(self, name: object) -> bool:
        return any(each.spec.name == name for each in self)

    def __iter__(self) -> Iterator[Tool]:
        for box in self._boxes:
            yield from box

    def allowed(self) -> Iterator[Tool]:
        """The tools that may be called."""
        for box in self._boxes:
            yield from box.allowed()
