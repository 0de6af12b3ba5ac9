"""Packs a run's spans for the canvas: columns of numbers, one after the other, compressed.

There are no ids, and no texts but the few names that occur: a span is known by its index, and details are fetched on a
click.
`assets/timeline.js` reads what is written here; both name the columns in the same order.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import zlib
from array import array
from typing import TYPE_CHECKING, Any

from rlm.trajectory.states import KINDS
from rlm_visualizer.formats import line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rlm.trajectory.index.rows import Timeline

TICK_S = 1e-4
"""Times are whole ticks; longer runs have longer ticks, so that all fit into 32 bits."""
TICKS_MAX = 1 << 31
LABEL_CHARS = 40


def pack(timeline: Timeline, shown: Mapping[str, Any]) -> bytes:
    """The columns, after a head of JSON that says how long each is and how the canvas begins.

    Starts and parents are stored as differences from the row before, which compress to almost nothing.
    """
    length_s = max(timeline.ended_at, default=0.0)
    tick_s = max(TICK_S, length_s / TICKS_MAX)
    starts = [round(moment / tick_s) for moment in timeline.started_at]
    lengths = [max(0, round(end / tick_s) - start) for start, end in zip(starts, timeline.ended_at, strict=True)]
    columns = (
        array("i", _steps(list(map(_fit, starts)))),
        array("i", map(_fit, lengths)),
        array("i", [number - parent if parent >= 0 else 0 for number, parent in enumerate(timeline.parent)]),
        array("i", map(_fit, timeline.tokens)),
        array("i", map(_millionths, timeline.cost_usd)),
        array("H", [min(each, 0xFFFF) for each in timeline.ordinal]),
        array("H", [min(each, 0xFFFF) for each in timeline.label]),
        array("B", timeline.kind),
        array("B", timeline.status),
    )
    head = {
        **shown,
        "count": len(timeline),
        "tick_s": tick_s,
        "kinds": list(KINDS),
        "labels": [line(label, LABEL_CHARS) for label in timeline.labels[:0x10000]],
    }
    text = json.dumps(head).encode()
    return struct.pack("<I", len(text)) + text + zlib.compress(b"".join(map(_little, columns)), 6)


def _steps(values: Sequence[int]) -> Iterable[int]:
    before = 0
    for value in values:
        yield value - before
        before = value


def _fit(number: int) -> int:
    """`number`, cut to the range of a column: a record may say anything."""
    return max(0, min(number, TICKS_MAX - 1))


def _millionths(cost_usd: float) -> int:
    """A cost in millionths of a dollar; -1 if it is unknown."""
    return _fit(round(min(cost_usd, TICKS_MAX) * 1e6)) if math.isfinite(cost_usd) else -1


def _little(column: array[int]) -> bytes:
    """The bytes of a column, the lowest first, by planes: all first bytes, then all second ones, as they compress."""
    if sys.byteorder == "big":
        column.byteswap()
    raw = column.tobytes()
    return b"".join(raw[plane :: column.itemsize] for plane in range(column.itemsize))
