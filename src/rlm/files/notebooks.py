"""A notebook as text: its cells and what they put out, without images and other data that is no text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 64 << 20
"""The largest notebook that is taken apart; most of it are images."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def notebook_text(content: bytes) -> str | None:
    """The text of a notebook of format 4, or of 3; None if it is something else."""
    try:
        book = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(book, dict) or not any(isinstance(book.get(key), list) for key in ("cells", "worksheets")):
        return None
    sheets = book.get("worksheets")
    holders = [book] if sheets is None else sheets if isinstance(sheets, list) else []
    cells = [cell for holder in holders if isinstance(holder, dict) for cell in _dicts(holder.get("cells"))]
    return "\n".join(part for number, cell in enumerate(cells, 1) for part in _cell(number, cell))


def _cell(number: int, cell: dict[str, Any]) -> Iterator[str]:
    kind, count = cell.get("cell_type"), cell.get("execution_count", cell.get("prompt_number"))
    ran = f", run as [{count}]" if isinstance(count, int) else ""
    yield f"# %% cell {number}: {kind if isinstance(kind, str) else 'of no kind'}{ran}"
    yield _text(cell.get("source", cell.get("input"))) + "\n"
    for output in _dicts(cell.get("outputs")):
        yield f"# output of cell {number}:"
        yield _output(output) + "\n"


def _output(output: dict[str, Any]) -> str:
    if "ename" in output or "traceback" in output:
        trace = output.get("traceback")
        lines = "\n".join(map(_text, trace)) if isinstance(trace, list) else ""
        return _COLOURS.sub("", lines) or f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"
    if "text" in output:
        return _COLOURS.sub("", _text(output["text"]))
    data = output.get("data")
    if not isinstance(data, dict):
        return "[nothing that is text]"
    for form in ("text/markdown", "text/plain", "application/json", "text/html"):
        if form in data:
            others = [name for name in data if not name.startswith("text/")]
            left_out = f"\n[left out: {', '.join(others)}]" if others and form != "application/json" else ""
            return _text(data[form]) + left_out
    return f"[left out: {', '.join(map(str, data))}]"


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    """A text, which the format also writes as a list of its lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "".join(value)
    return "" if value is None else msgspec.json.encode(value).decode()
