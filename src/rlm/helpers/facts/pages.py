"""Pages of rows: the rows wanted, the number of all rows, and the offset of the next page; bounded in bytes too."""

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
"""The most rows of one page."""
USUAL_ROWS = 1_000
MAX_PAGE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The range of the rows that are wanted."""

    limit: int
    offset: int

    @classmethod
    def of(cls, limit: int | None, offset: int, usual: int) -> Window:
        """The window that a caller asks for; of `usual` rows without a limit.

        Raises:
            ToolError: a number is negative.
        """
        if offset < 0 or (limit is not None and limit < 0):
            raise ToolError("limit and offset count from 0.")
        return cls(limit=min(usual if limit is None else limit, MAX_ROWS), offset=offset)

    @property
    def end(self) -> int:
        return self.limit + self.offset


@dataclass(slots=True, kw_only=True)
class RowPage:
    """The rows of a window, picked from all rows as they come in order."""

    window: Window
    rows: list[Json] = field(default_factory=list)
    total: int = 0
    """How many rows have come so far."""
    _bytes: int = 0

    def add(self, rows: Sequence[Json], total: int) -> None:
        """Take the next `total` rows; `rows` has the first of them, at least up to the window's end."""
        for row in rows[max(0, self.window.offset - self.total) :]:
            self._bytes += len(msgspec.json.encode(row))
            if len(self.rows) == self.window.limit or (self.rows and self._bytes > MAX_PAGE_BYTES):
                break
            self.rows.append(row)
        self.total += total

    @property
    def next_offset(self) -> int | None:
        """The offset of the next page; None if this is the last one."""
        end = self.window.offset + len(self.rows)
        return end if end < self.total else None

    def facts(self, what: str, files: int) -> dict[str, Json]:
        """The page as callers get it, with the rows under `what`."""
        page: dict[str, Json] = {what: self.rows, "total": self.total, "files": files}
        return page if self.next_offset is None else page | {"next_offset": self.next_offset}

    def alone(self, path: str, limit: int | None) -> list[Json]:
        """The rows of one file, as a list.

        Raises:
            ToolError: there are more than one answer may have, and the caller set no limit.
        """
        if self.next_offset is not None and (limit is None or len(self.rows) < limit):
            raise ToolError(
                f"{shown(path)} has {self.total:,} rows: ask with limit and offset, for {len(self.rows):,} at most."
            )
        return self.rows
