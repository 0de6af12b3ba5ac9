"""The token of a user's servers is one, however many start together and wherever one was cut off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlm.core.exceptions import ConfigError
from rlm.mcp.server.http import token


def kept(state: Path, content: str) -> Path:
    path = state / "rlm/mcp-token"
    path.parent.mkdir()
    path.write_text(content)
    return path


def test_servers_that_start_together_have_one_token(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(50):
            environ = {"XDG_STATE_HOME": str(tmp_path / str(number))}
            assert len(set(pool.map(token, [environ] * 8))) == 1


def test_a_token_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    path = kept(tmp_path, "")
    made = token({"XDG_STATE_HOME": str(tmp_path)})
    assert path.read_text() == made + "\n"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["short\n", "é" * 7])
def test_what_is_no_token_is_named(tmp_path: Path, content: str) -> None:
    path = kept(tmp_path, content)
    with pytest.raises(ConfigError, match="holds no valid token"):
        token({"XDG_STATE_HOME": str(tmp_path)})
    assert path.read_text() == content


def test_a_link_is_no_token(tmp_path: Path) -> None:
    kept(tmp_path, "x").unlink()
    (tmp_path / "elsewhere").write_text("a" * 40)
    (tmp_path / "rlm/mcp-token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="set RLM_MCP_TOKEN"):
        token({"XDG_STATE_HOME": str(tmp_path)})
