"""The files that guest code saves beside its trajectory, in `<run_id>.artifacts/`: capped, and never overwritten."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.whole_files import new_file

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE_BYTES = 16 << 20
MAX_TOTAL_BYTES = 256 << 20
MAX_FILES = 200

_NAME = re.compile(r"\w[\w .-]{0,99}", re.ASCII)


class Artifacts:
    """The artifacts of one run; the folder is created with the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = 0
        self._total_bytes = 0

    def save(self, name: str, content: bytes) -> str:
        """Write a new file, and return its name, which is numbered if `name` is taken.

        Raises:
            ToolError: the name can't be used, the file is too large, the run has too many, or the disk refuses.
        """
        self._check(name, len(content))
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            saved = self._write(name, content)
        except OSError as error:
            raise ToolError(f"the artifact {name!r} could not be saved: {error.strerror}") from error
        self._files += 1
        self._total_bytes += len(content)
        return saved

    def _check(self, name: str, size_bytes: int) -> None:
        if not is_artifact_name(name):
            raise ToolError(
                "an artifact's name is a plain file name of letters, digits, '_', '-', '.', at most 100 long"
            )
        if size_bytes > MAX_FILE_BYTES:
            raise ToolError(f"an artifact has at most {MAX_FILE_BYTES:,} bytes, not {size_bytes:,}")
        if self._files >= MAX_FILES or self._total_bytes + size_bytes > MAX_TOTAL_BYTES:
            raise ToolError(f"a run keeps at most {MAX_FILES} artifacts of {MAX_TOTAL_BYTES:,} bytes in all")

    def _write(self, name: str, content: bytes) -> str:
        stem, dot, suffix = name.rpartition(".") if "." in name else (name, "", "")
        for number in range(1, MAX_FILES + 1):
            candidate = name if number == 1 else f"{stem}-{number}{dot}{suffix}"
            try:
                with new_file(self._folder / candidate) as file:
                    file.write(content)
            except FileExistsError:
                continue
            return candidate
        raise ToolError(f"there are too many artifacts named {name!r}")


def is_artifact_name(name: str) -> bool:
    """Whether a name is a plain file name that an artifact may have."""
    return _NAME.fullmatch(name) is not None and not name.endswith((".", " "))
