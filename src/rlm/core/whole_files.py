"""Files that are replaced whole or not at all: settings, trust and tokens survive a kill between two writes. Many files
at once, with undo, are `rlm.helpers.changes`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put a file of this mode in its place, synced to disk before it takes the name.

    Raises:
        OSError: it can't be written; what was there is untouched.
    """
    fd, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(content)
            file.flush()
            os.fsync(fd)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
