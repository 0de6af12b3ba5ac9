"""Points in time as people read and write them: a date, a date with a time, or how long ago."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from rlm.core.exceptions import ConfigError

_AGO = re.compile(r"(\d{1,6})\s*(min|m|h|d|w)")
_DAYS = {"today": 0, "yesterday": 1}
_SECONDS = {"m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def moment(text: str | None) -> float | None:
    """Seconds since the epoch, in local time where no zone is named; None for None.

    Raises:
        ConfigError: the text names no point in time.
    """
    if text is None:
        return None
    if (days := _DAYS.get(text.strip().lower())) is not None:
        midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - timedelta(days=days)).timestamp()
    if ago := _AGO.fullmatch(text.strip()):
        return time.time() - int(ago[1]) * _SECONDS[ago[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(
            f"{text!r} is not a date or a time\n"
            "write today, yesterday, 2026-11-21, 2026-11-21T09:30, 45min, 3h, 2d or 1w"
        ) from error


def local_time(at: float) -> str:
    """A moment, in seconds since the epoch, in local time to the minute; `?` if no calendar has it."""
    try:
        return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "?"
