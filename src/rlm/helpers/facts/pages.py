"""Pages of rows: which are wanted, how many there are in all, and where the next page begins; bounded in bytes too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.types import Json

MAX_ROWS = 5_000
"""Of one page."""
USUAL_ROWS = 1_000
MAX_PAGE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which rows are wanted of all."""

    limit: int
    offset: int

    @classmethod
    def of(cls, limit: int | None, offset: int, usual: int) -> Window:
        """As a caller gave it; `usual` rows where no limit is given.

        Raises:
            ToolError: one is negative.
        """
        if offset < 0 or (limit is not None and limit < 0):
            raise ToolError("limit and offset count from 0.")
        return cls(limit=min(usual if limit is None else limit, MAX_ROWS), offset=offset)

    @property
    def end(self) -> int:
        return self.limit + self.offset


@dataclass(slots=True, kw_only=True)
class RowPage:
    """The rows of a window, taken from all rows as those come in their order."""

    window: Window
    rows: list[Json] = field(default_factory=list)
    total: int = 0
    """Rows that have come."""
    _bytes: int = 0

    def add(self, rows: Sequence[Json], total: int) -> None:
        """Take what belongs here of the next `total` rows; `rows` has the first of them, up to the window's end."""
        for row in rows[max(0, self.window.offset - self.total) :]:
            self._bytes += len(msgspec.json.encode(row))
            if len(self.rows) == self.window.limit or (self.rows and self._bytes > MAX_PAGE_BYTES):
                break
            self.rows.append(row)
        self.total += total

    @property
    def next_offset(self) -> int | None:
        """Where the next page begins; None where there is none."""
        end = self.window.offset + len(self.rows)
        return end if end < self.total else None

    def facts(self, what: str, files: int) -> dict[str, Json]:
        """The page as it is given, the rows under `what`."""
        page: dict[str, Json] = {what: self.rows, "total": self.total, "files": files}
        return page if self.next_offset is None else page | {"next_offset": self.next_offset}

    def alone(self, path: str, limit: int | None) -> list[Json]:
        """The rows of one file, as a list.

        Raises:
            ToolError: it has more than are given at once, and no such limit was set.
        """
        if self.next_offset is not None and (limit is None or len(self.rows) < limit):
            raise ToolError(
                f"{shown(path)} has {self.total:,} rows: ask with limit and offset, for {len(self.rows):,} at most."
            )
        return self.rows
