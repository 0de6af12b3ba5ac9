"""Takes a terminal's colours out of text, so that it can be searched as people see it. Knows nothing of secrets."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from rlm.secrets.spans import SecretSpan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Two patterns, so that each begins with a fixed character and is searched as fast as that.
_SEQUENCES: Final = [
    re.compile(rf"{start}(?:\[[0-?]{{0,20}}[@-~]|\([0-9A-B])") for start in ("\x1b", r"\\(?:x1b|u001b|033)")
]


class Uncoloured(NamedTuple):
    """A text without its colours, and where they were."""

    text: str
    cuts: list[int]
    """The positions in `text` at which something was cut out, in order."""
    removed: list[int]
    """How many characters were cut out up to each position, that cut included."""

    def back(self, spans: Iterable[SecretSpan]) -> Iterator[SecretSpan]:
        """Map spans of `text` to the text with its colours; a colour at either end of a span stays outside."""
        for span in spans:
            first, last = bisect_right(self.cuts, span.start), bisect_right(self.cuts, span.end - 1)
            start = span.start + (self.removed[first - 1] if first else 0)
            end = span.end + (self.removed[last - 1] if last else 0)
            yield SecretSpan(start, end, span.family)


def uncoloured(text: str) -> Uncoloured | None:
    """`text` without its colours, raw or escaped; None if it has none."""
    if "\x1b" not in text and not ("\\" in text and ("1b[" in text or "033[" in text)):
        return None
    sequences = sorted(hit.span() for pattern in _SEQUENCES for hit in pattern.finditer(text))
    if not sequences:
        return None
    sizes = list(accumulate(end - start for start, end in sequences))
    cuts = [start - before for (start, _), before in zip(sequences, [0, *sizes[:-1]], strict=True)]
    edges = [0, *(edge for span in sequences for edge in span), len(text)]
    kept = "".join(text[edges[index] : edges[index + 1]] for index in range(0, len(edges), 2))
    return Uncoloured(kept, cuts, sizes)
