from __future__ import annotations

import time
from datetime import datetime

import pytest

from rlm.cli.moments import local_time, moment
from rlm.core.exceptions import ConfigError


@pytest.mark.parametrize(
    ("text", "ago_s"), [("45min", 2700), ("45m", 2700), ("3h", 10_800), ("2d", 172_800), (" 1w ", 604_800)]
)
def test_how_long_ago(text: str, ago_s: int) -> None:
    found = moment(text)
    assert found is not None
    assert time.time() - found == pytest.approx(ago_s, abs=60)


def test_a_date_is_local_unless_it_names_a_zone() -> None:
    assert moment(None) is None
    assert moment("2026-11-21") == datetime(2026, 11, 21).timestamp()  # noqa: DTZ001 - local it is
    assert moment("2026-11-21T09:30+00:00") == 1795253400.0


def test_a_day_begins_at_midnight() -> None:
    today, yesterday = moment("today"), moment("Yesterday")
    assert today is not None
    assert yesterday is not None
    assert 0 <= time.time() - today < 90_000
    assert 82_000 < today - yesterday < 91_000


@pytest.mark.parametrize("text", ["", "soon", "3 years", "-1d", "9999999d"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a date or a time"):
        moment(text)


def test_a_moment_is_shown_to_the_minute_and_one_that_no_calendar_has_is_not() -> None:
    assert local_time(datetime(2026, 11, 21, 9, 30, 59).timestamp()) == "2026-11-21 09:30"  # noqa: DTZ001 - local it is
    assert local_time(1e20) == "?"
