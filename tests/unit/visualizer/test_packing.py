from __future__ import annotations

import json
import struct
import zlib
from array import array
from typing import Any

from rlm_visualizer.packing import pack

from rlm.trajectory.index.rows import Timeline


def timeline(**columns: Any) -> Timeline:
    """Three spans, a root with two in it; columns may be replaced."""
    usual: dict[str, Any] = {
        "started_at": array("d", [0.0, 0.5, 0.75]),
        "ended_at": array("d", [2.0, 0.7, 0.9]),
        "parent": array("i", [-1, 0, 0]),
        "level": array("B", [0, 1, 1]),
        "kind": array("B", [0, 2, 2]),
        "status": array("B", [1, 1, 2]),
        "tokens": array("q", [300, 100, 200]),
        "cost_usd": array("d", [0.003, float("nan"), 0.003]),
        "label": array("H", [0, 1, 1]),
        "ordinal": array("I", [0, 1, 2]),
    }
    return Timeline(**{**usual, **columns}, labels=("completion", "llm_query\x1b[0m"), origin=0.0, ids=b"0" * 48)


def unpacked(content: bytes, *formats: str) -> tuple[dict[str, Any], list[list[int]]]:
    """The head, and the columns as the script reads them: by planes of bytes."""
    (size,) = struct.unpack_from("<I", content)
    head, planes = json.loads(content[4 : 4 + size]), zlib.decompress(content[4 + size :])
    columns, at = [], 0
    for letter in formats:
        width, rows = struct.calcsize(letter), head["count"]
        raw = bytearray(rows * width)
        for plane in range(width):
            raw[plane::width] = planes[at : at + rows]
            at += rows
        columns.append(list(struct.unpack(f"<{rows}{letter}", raw)))
    assert at == len(planes)
    return head, columns


FORMATS = ("i", "i", "i", "i", "i", "H", "H", "B", "B")


def test_columns_come_back_as_differences() -> None:
    head, columns = unpacked(pack(timeline(), {"layout": "flame"}), *FORMATS)
    starts, lengths, parents, tokens, costs, ordinals, labels, kinds, states = columns
    assert (head["count"], head["layout"], head["labels"]) == (3, "flame", ["completion", "llm_query"])
    assert (starts, lengths, parents) == ([0, 5000, 2500], [20000, 2000, 1500], [0, 1, 2])
    assert (tokens, costs) == ([300, 100, 200], [3000, -1, 3000])
    assert (ordinals, labels, kinds, states) == ([0, 1, 2], [0, 1, 1], [0, 2, 2], [1, 1, 2])


def test_numbers_of_any_size_fit() -> None:
    vast = timeline(
        ended_at=array("d", [1e12, 0.0, 1e12]),
        tokens=array("q", [1 << 60, 5, -3]),
        cost_usd=array("d", [1e300, float("inf"), -1.0]),
    )
    _, (_, lengths, _, tokens, costs, *_) = unpacked(pack(vast, {}), *FORMATS)
    assert max(lengths) < 1 << 31
    assert (tokens, costs) == ([(1 << 31) - 1, 5, 0], [(1 << 31) - 1, -1, 0])
