"""Numbers, times and texts as people read them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rlm.core.plain import one_line, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN_CHARS = 20_000
"""The most characters of one text on a page; a longer one is cut in the middle, with a mark."""
UNKNOWN = "–"


def dollars(cost_usd: float | None) -> str:
    """US dollars with as many digits as they need; a dash where the price is unknown."""
    if cost_usd is None:
        return UNKNOWN
    if cost_usd == 0:
        return "$0"
    return f"${cost_usd:,.2f}" if cost_usd >= 1 else f"${cost_usd:.4f}"


def count(number: int) -> str:
    """A number of something, short: 950, 12.3k, 4.5M."""
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= limit:
            return f"{number / limit:.1f}".removesuffix(".0") + unit
    return str(number)


def duration(seconds: float) -> str:
    """A length of time: 1.2 ms, 340 ms, 5.6 s, 2 min 5 s, 1 h 2 min."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(size_bytes: int) -> str:
    """A size in decimal units."""
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def when(at: float, now: float) -> str:
    """A moment: its time if it is today, else its date too; a dash if no calendar has it."""
    try:
        moment, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    except (OverflowError, ValueError, OSError):
        return UNKNOWN
    if moment.date() == today.date():
        return f"{moment:%H:%M:%S}"
    return f"{moment:%d %b %H:%M}" if moment.year == today.year else f"{moment:%d %b %Y}"


def moment(at: float) -> str:
    """A moment with its date, to the second, in this machine's zone; a dash if no calendar has it."""
    try:
        return f"{datetime.fromtimestamp(at).astimezone():%d %b %Y %H:%M:%S %Z}"
    except (OverflowError, ValueError, OSError):
        return UNKNOWN


def plural(number: int, one: str, many: str = "") -> str:
    """`1 turn`, `2 turns`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def shown(text: str, chars: int = SHOWN_CHARS) -> str:
    """A text made safe to show; of a long one the beginning and the end, and between them how much is missing."""
    if len(text) <= chars:
        return plain(text)
    head, tail = text[: chars * 3 // 4], text[-(chars // 4) :]
    return f"{plain(head)}\n\n[... {len(text) - len(head) - len(tail):,} characters are not shown ...]\n\n{plain(tail)}"


def line(text: str, chars: int = 160) -> str:
    """A text made safe to show, on one line."""
    return one_line(text, chars)


def flat(text: str) -> str:
    """A piece of a text made safe to show, its lines put into one."""
    return plain(text).replace("\n", " ").replace("\t", " ")


def joined(parts: Sequence[str]) -> str:
    """The parts that aren't empty, with dots between them."""
    return " · ".join(part for part in parts if part)
