"""What a host's model is told of the server fits what hosts show of it."""

from __future__ import annotations

import pytest

from rlm.core.config import Config
from rlm.mcp.server.texts import instructions

SHOWN_BYTES = 2_048


@pytest.mark.parametrize("count", [0, 1, 9, 30, 2_000])
@pytest.mark.parametrize("folder", ["/srv/data", "/srv/" + "long/" * 30, "/srv/" + "größe/" * 400])
def test_instructions_are_shown_whole_with_the_rights_before_the_folders(count: int, folder: str) -> None:
    folders = tuple(f"{folder}{number}" for number in range(count))
    text = instructions(Config(allowed_paths=folders, tables=("a.csv",), helper_rights=("read", "git")), asks_host=True)
    assert len(text.encode()) < SHOWN_BYTES
    shown = [name for name in folders if name in text]
    if count:
        assert text.index("rights: read, git") < text.index("folder" if not shown else shown[0])
    if shown:
        assert (f"and {count - len(shown)} more" in text) == (len(shown) < count)
