"""A folder goes up and comes home: what may, as it was; and nothing that a hostile machine sends does harm."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.exceptions import ConfigError
from rlm.workspaces import downloads, uploads
from rlm.workspaces.downloads import safe_path, unpack
from rlm.workspaces.uploads import LINK, pack

if TYPE_CHECKING:
    from pathlib import Path


def packed(folder: Path) -> tuple[dict[str, str], list[str], uploads.Packed]:
    """What is in the archive: the content of each file, and the links."""
    with tempfile.TemporaryFile() as file:
        found = pack(folder, file)
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:gz") as archive:
            entries = archive.getmembers()
            files = {each.name: archive.extractfile(each).read().decode() for each in entries if each.isreg()}  # type: ignore[union-attr]
            return files, [each.name for each in entries if each.issym()], found


def archive_of(*entries: tuple[str, bytes | None], **more: Any) -> io.IOBase:
    """A tar with files, and links for those without content."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the test's last reference
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            if content is None:
                entry.type, entry.linkname = more.get("kind", tarfile.SYMTYPE), "/etc/passwd"
                archive.addfile(entry)
            else:
                entry.size, entry.mode = len(content), more.get("mode", 0o644)
                archive.addfile(entry, io.BytesIO(content))
    file.seek(0)
    return file


def home(folder: Path, *entries: tuple[str, bytes | None], base: dict[str, str] | None = None, **more: Any) -> Any:
    delete = more.pop("delete", False)
    with archive_of(*entries, **more) as archive:
        return unpack(archive, folder, base or {}, delete=delete)  # type: ignore[arg-type]


def test_what_a_user_would_take_along_goes_up(tmp_path: Path) -> None:
    for name, text in {"a.py": "1", "sub/foo..bar": "2", ".github/x": "3", ".env": "4", ".gitignore": ".env\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("no")
    (tmp_path / "inside").symlink_to("sub/foo..bar")
    (tmp_path / "outside").symlink_to("/etc/passwd")
    (tmp_path / "sub" / "up").symlink_to("../../elsewhere")
    os.mkfifo(tmp_path / "pipe")
    files, links, found = packed(tmp_path)
    assert files == {"a.py": "1", "sub/foo..bar": "2", ".github/x": "3", ".gitignore": ".env\n"}
    assert links == ["inside"]
    assert set(found.left_out) == {"outside", "sub/up", "pipe"}
    assert found.files["inside"] == LINK


def test_too_much_is_refused_with_the_folders_that_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    for number in range(4):
        (tmp_path / "data" / str(number)).write_bytes(b"x")
    monkeypatch.setattr(uploads, "MOST_FILES", 3)
    with pytest.raises(ConfigError, match=r"more than 3 files .*\n.*data \(4 files\)"):
        packed(tmp_path)
    with pytest.raises(ConfigError, match="No such file"):
        packed(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "path"),
    [("./a/b.py", "a/b.py"), ("foo..bar", "foo..bar"), ("..foo", "..foo"), ("a/./b", None), ("//etc/passwd", None)]
    + [(name, None) for name in ("/etc/passwd", "../x", "a/../../x", ".", "", "a//b", ".git/hooks/pre-commit")]
    + [(name, None) for name in ("sub/.GIT/config", "a\x00b", "a\nb", "\x1b[2J", "a/" * 101 + "x", "n" * 256)],
)  # fmt: skip
def test_a_name_leads_below_the_folder_or_nowhere(name: str, path: str | None) -> None:
    assert safe_path(name) == path


def test_what_changed_comes_home_and_what_changed_here_stays(tmp_path: Path) -> None:
    for name in ("same", "theirs", "ours", "both", "gone", "gone but changed"):
        (tmp_path / name).write_text("old")
    _files, _links, up = packed(tmp_path)
    (tmp_path / "ours").write_text("mine")
    (tmp_path / "both").write_text("mine")
    (tmp_path / "gone but changed").write_text("mine")
    (tmp_path / "there already").write_text("mine")
    came = [("./same", b"old"), ("./theirs", b"new"), ("./ours", b"old"), ("./both", b"new"), ("./deep/new", b"1")]
    found = home(tmp_path, *came, ("./there already", b"other"), base=dict(up.files), mode=0o755)
    assert found.written == ("theirs", "deep/new")
    assert found.conflicts == ("both", "there already")
    assert found.removed == ("gone", "gone but changed")
    assert found.refused == ()
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()} == {
        "same": "old", "theirs": "new", "ours": "mine", "both": "mine", "gone": "old", "gone but changed": "mine",
        "there already": "mine",
    }  # fmt: skip
    assert os.access(tmp_path / "deep" / "new", os.X_OK)
    found = home(tmp_path, *came, base=dict(up.files), delete=True)
    assert found.removed == ("gone",)
    assert not (tmp_path / "gone").exists()


def test_nothing_is_written_through_a_link_or_over_what_is_no_file(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "file link").symlink_to(outside / "made")
    (folder / "dir").mkdir()
    (folder / "file").write_text("")
    evil = ["link/x", "file link", "dir", "file/below", "../x", "/x", ".git/config"]
    found = home(folder, *((name, b"evil") for name in evil), base={})
    assert found.written == ()
    assert {*found.conflicts, *found.refused} == {*evil}
    assert list(outside.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"outside", "folder"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_stay_there(tmp_path: Path, kind: bytes) -> None:
    found = home(tmp_path, ("evil", None), ("inside", None), ("good", b"1"), base={"inside": LINK}, kind=kind)
    assert (found.written, found.refused, found.removed) == (("good",), ("evil",), ())
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


def test_an_archive_that_is_cut_off_or_too_much_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").write_text("old")
    _files, _links, up = packed(tmp_path)
    with archive_of(("a", b"x" * 5000), ("b", b"x" * 5000)) as archive:
        archive.truncate(8000)  # type: ignore[union-attr]
        found = unpack(archive, tmp_path, dict(up.files), delete=True)  # type: ignore[arg-type]
    assert found.removed == ()
    assert any("rest of the archive" in each for each in found.refused)
    assert (tmp_path / "kept").exists()
    monkeypatch.setattr(downloads, "MOST_BYTES", 3)
    with pytest.raises(ConfigError, match="more than 0 MB"):
        home(tmp_path, ("c", b"1234"))
    monkeypatch.setattr(downloads, "MOST_FILES", 1)
    with pytest.raises(ConfigError, match="more than 1 files"):
        home(tmp_path, ("d", b"1"), ("e", b"1"))
    monkeypatch.undo()
    monkeypatch.setattr(downloads, "MOST_FILE_BYTES", 3)
    assert home(tmp_path, ("f", b"1234"), ("g", b"1")).refused == ("f",)
