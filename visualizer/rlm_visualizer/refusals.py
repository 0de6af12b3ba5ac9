"""Shows an error in place of what can't be shown: a page never breaks over a record."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rlm.core.exceptions import RLMError
from rlm_visualizer.elements import notice
from rlm_visualizer.formats import line
from rlm_visualizer.mounting import show

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_CHARS = 400


@contextmanager
def refusals() -> Iterator[None]:
    """Show an error of the package as a notice. Every fragment needs one of its own: Streamlit shows what leaves it."""
    try:
        yield
    except RLMError as error:
        first, *rest = (line(text, LINE_CHARS) for text in str(error).splitlines() or ["it can't be shown"])
        show(notice(first, *rest, tone="failed"), "refused")
