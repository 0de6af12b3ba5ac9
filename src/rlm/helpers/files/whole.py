"""`fs.read_file` and `fs.write_file`: a whole text file. A file that exists keeps its encoding and newlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.changes import edit
from rlm.helpers.operation import helper
from rlm.helpers.text_files import lines_of

if TYPE_CHECKING:
    from rlm.core.types import Json
    from rlm.helpers.changes import Edit
    from rlm.helpers.workspace import Workspace

MAX_READ_CHARS = 4_000_000


@helper("fs.read_file")
def read_file(work: Workspace, path: str) -> Json:
    """Return the text of a file, at most 4 million characters, with its newlines as "\\n".

    Args:
        path: The file.
    """
    text = work.source(path).text
    if len(text) > MAX_READ_CHARS:
        raise ToolError(
            f"{shown(path)} has {len(text):,} characters, too many to return: copy ranges by fs.copy_lines."
        )
    return text


@helper("fs.write_file", right="write")
def write_file(work: Workspace, path: str, content: str, dry_run: bool = False) -> Edit:
    """Write a text file whole; folders that it needs are made.

    Args:
        path: The file; it may be new.
        content: The text.
        dry_run: Change nothing and return a diff.
    """
    target = work.source_or_new(path)
    change = target.change(content)
    facts: dict[str, Json] = {
        "file": target.name,
        "created": target.content is None,
        "lines": len(lines_of(content)),
        "bytes": len(change.after or b""),
    }
    return edit("fs.write_file", [change], facts, dry_run=dry_run)
