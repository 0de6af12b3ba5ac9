"""What a command prints is masked, kept whole in the log and by its end in memory, wherever it is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.secrets.masking import masker
from rlm.workspaces import output
from rlm.workspaces.output import CommandOutput, read_log
from rlm.workspaces.values import TAIL_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SECRET = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"


def test_it_is_the_same_wherever_it_is_cut(tmp_path: Path) -> None:
    text = f"ä {SECRET} 😀\r\n\n" * 20 + "no end"
    raw, shown = text.encode() + b"\xff", text.replace(SECRET, "[REDACTED_GITHUB_TOKEN]") + "\N{REPLACEMENT CHARACTER}"
    for size in (1, 3, 7, 1000, 10_000):
        heard: list[str] = []
        made = CommandOutput(tmp_path / str(size), masker("secrets"), heard.append)
        for at in range(0, len(raw), size):
            made.take(raw[at : at + size])
        made.close()
        assert "".join(heard) == made.tail == (tmp_path / str(size)).read_bytes().decode() == shown
        assert made.size_bytes == len(raw)


def test_the_log_has_a_bound_and_the_tail_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LOG_BYTES", 100_000)
    made = CommandOutput(tmp_path / "log", None, lambda _text: None)
    for number in range(30_000):
        made.take(b"%06d\n" % number)
    made.close()
    assert (tmp_path / "log").stat().st_size == 100_000
    assert (made.is_cut, made.size_bytes, len(made.tail)) == (True, 210_000, TAIL_BYTES)
    assert made.tail.endswith("029999\n")


def test_a_log_is_read_by_offset_each_byte_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert read_log(path, 0) == b""
    whole = b"".join(b"line %d\n" % number for number in range(50_000))
    path.write_bytes(whole)
    read, offset = b"", 0
    while piece := read_log(path, offset):
        read += piece
        offset += len(piece)
    assert read == whole
