"""Documents as values: `{"pages": [...]}` beside the texts of other files."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from rlm.core.contexts.spool import value_context

if TYPE_CHECKING:
    from collections.abc import Collection

    from rlm.core.contexts.context import Context, Part
    from rlm.core.types import Json


def with_pages(context: Context, paged: Collection[str]) -> Context:
    """The context itself; where files of it, which have these names, were taken as pages, a value instead of texts."""
    if not paged or context.fd is None:
        return context
    values = {part.name: _value_of(context.fd, part, paged) for part in context.parts}
    made = value_context(values if context.kind == "files" else values[""], lambda value: value)
    fd = None if made.fd is None else os.dup(made.fd)  # each context closes its own
    return replace(made, fd=fd, sources=context.sources, reading=context.reading, warnings=context.warnings)


def _value_of(fd: int, part: Part, paged: Collection[str]) -> Json:
    text = os.pread(fd, part.size_bytes, part.start).decode("utf-8", "surrogatepass")
    value: Json = msgspec.json.decode(text) if not part.name or part.name in paged else text
    return value
