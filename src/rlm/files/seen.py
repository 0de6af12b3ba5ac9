"""Which files of a workspace were changed: as they are found there, whatever anybody claims."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

MOST_FILES = 100_000
_PASSED_BY = frozenset({".git", "__pycache__", "node_modules", ".venv"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSeen:
    """The files of some folders at one moment."""

    files: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """By the path of each: its inode, its size and when it was written last."""
    is_whole: bool = True
    """False: there were more than `MOST_FILES`, and the others are not in it."""

    @classmethod
    def of(cls, folders: Iterable[Path]) -> FilesSeen:
        """The files in these folders as they are now; blocks while it looks."""
        files: dict[str, tuple[int, int, int]] = {}
        for path in _walked(folders):
            if len(files) == MOST_FILES:
                return cls(files=files, is_whole=False)
            try:
                about = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(about.st_mode):
                files[path] = (about.st_ino, about.st_size, about.st_mtime_ns)
        return cls(files=files)

    def created_since(self, before: FilesSeen) -> tuple[str, ...]:
        """The files that were not there before."""
        return tuple(sorted(self.files.keys() - before.files.keys()))

    def modified_since(self, before: FilesSeen) -> tuple[str, ...]:
        """The files that were there, and have been written since."""
        both = self.files.keys() & before.files.keys()
        return tuple(sorted(path for path in both if self.files[path] != before.files[path]))


def _walked(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        if folder.is_file():
            yield str(folder)
        for place, names, files in os.walk(folder):
            names[:] = sorted(name for name in names if name not in _PASSED_BY)
            yield from (os.path.join(place, name) for name in sorted(files))  # noqa: PTH118 - text, many times over
