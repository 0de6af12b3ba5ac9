"""Makes text from models, guests and logs fit for a terminal: nothing in it may move a cursor, colour or hide text, or
set a title. For display only; the record keeps what was said."""

from __future__ import annotations

import re

from rlm.core.contexts.context import clip, printable

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*+[ -/]*+[@-~]"  # CSI: colours, cursor
    r"|\x9b[0-?]*+[ -/]*+[@-~]"
    # Strings: titles, links. One that is never closed ends where the next begins, so that no text is read twice.
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*+(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*+[0-~]"
)


def plain(text: str) -> str:
    """`text` without terminal sequences, other control characters escaped, newlines and tabs kept."""
    return printable(_SEQUENCES.sub("", text).replace("\r\n", "\n"))


def one_line(text: str, chars: int) -> str:
    """The same on one line of at most `chars` characters."""
    return clip(" ".join(plain(text[: chars * 4]).split()), chars)
