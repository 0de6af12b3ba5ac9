"""Text that a terminal shows in colours: what is looked for is the text without them. Knows nothing of secrets."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from rlm.secrets.spans import SecretSpan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Two, so that each begins with one character and is looked for as fast as that.
_SEQUENCES: Final = [
    re.compile(rf"{start}(?:\[[0-?]{{0,20}}[@-~]|\([0-9A-B])") for start in ("\x1b", r"\\(?:x1b|u001b|033)")
]


class Uncoloured(NamedTuple):
    """A text without its colours."""

    text: str
    cuts: list[int]
    """Where in `text` something was cut out, in order."""
    removed: list[int]
    """How much up to there."""

    def back(self, spans: Iterable[SecretSpan]) -> Iterator[SecretSpan]:
        """The places in the text with its colours; one at an end of a place is not in it."""
        for span in spans:
            first, last = bisect_right(self.cuts, span.start), bisect_right(self.cuts, span.end - 1)
            start = span.start + (self.removed[first - 1] if first else 0)
            end = span.end + (self.removed[last - 1] if last else 0)
            yield SecretSpan(start, end, span.family)


def uncoloured(text: str) -> Uncoloured | None:
    """`text` without colours, whether they are as they are or escaped; None where it has none."""
    if not any(start in text for start in ("\x1b", "1b[", "033[")):
        return None
    sequences = sorted(hit.span() for pattern in _SEQUENCES for hit in pattern.finditer(text))
    if not sequences:
        return None
    sizes = list(accumulate(end - start for start, end in sequences))
    cuts = [start - before for (start, _), before in zip(sequences, [0, *sizes[:-1]], strict=True)]
    edges = [0, *(edge for span in sequences for edge in span), len(text)]
    kept = "".join(text[edges[index] : edges[index + 1]] for index in range(0, len(edges), 2))
    return Uncoloured(kept, cuts, sizes)
