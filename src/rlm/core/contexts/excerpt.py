"""The data itself as text, up to a size: only for a child that can't have a REPL and must be shown its context."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm.core.contexts.context import Context, Part

WHOLE_BYTES = 16 << 20
"""The largest context that may be passed on as one value."""


def whole_text(context: Context) -> str:
    """All of a text context.

    Raises:
        ValueError: it isn't text, or has more than `WHOLE_BYTES`.
    """
    if context.kind != "text" or context.size_bytes > WHOLE_BYTES:
        raise ValueError(
            f"`context` as a whole ({context.kind}, {context.size_bytes:,} bytes) is too large here: pass parts of it"
        )
    return excerpt(context, context.chars + 1)


def excerpt(context: Context, limit_chars: int) -> str:
    """The beginning of the data with a mark where it was cut; files one after the other, each under its name."""
    if context.fd is None:
        return ""
    texts: list[str] = []
    left = limit_chars
    for part in context.parts:
        text = _read(context.fd, part, left)
        texts.append(f"--- {part.name} ---\n{text}" if context.kind == "files" else text)
        left -= len(text)
        if left <= 0:
            break
    joined = "\n".join(texts)
    return joined if left > 0 else f"{joined}\n[... cut here: {context.size_bytes:,} bytes in all ...]"


def _read(fd: int, part: Part, limit_chars: int) -> str:
    content = os.pread(fd, min(part.end - part.start, 4 * limit_chars), part.start)
    return content.decode("utf-8", "surrogatepass" if len(content) == part.end - part.start else "replace")[
        :limit_chars
    ]
