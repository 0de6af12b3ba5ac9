from __future__ import annotations

import time
from datetime import datetime

import pytest

from rlm.cli.moments import moment
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


@pytest.mark.parametrize("text", ["", "soon", "3 years", "-1d", "9999999d"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no moment"):
        moment(text)
