from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.paths import Confined, open_file


@pytest.fixture
def area(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "in.txt").write_text("inside")
    (root / "foo..bar").write_text("dots")
    (tmp_path / "secret.txt").write_text("secret")
    (root / "out").symlink_to(tmp_path / "secret.txt")
    (root / "up").symlink_to("..")
    (root / "loop").symlink_to("loop")
    (root / "link.txt").symlink_to("sub/in.txt")
    return root


def text_at(confined: Confined, path: str) -> str:
    with os.fdopen(confined.open_read(path)) as file:
        return file.read()


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("path", ["sub/in.txt", "./sub/../sub/in.txt", "link.txt", "root/sub/in.txt", "sub//in.txt"])
def test_what_is_inside_is_opened(area, path):
    assert text_at(Confined([area]), path) == "inside"


def test_two_dots_in_a_name_are_no_way_up(area):
    assert text_at(Confined([area]), "foo..bar") == "dots"
    assert text_at(Confined([area]), str(area / "foo..bar")) == "dots"


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "out",
        "up/secret.txt",
        "sub/../../secret.txt",
        "/etc/passwd",
        "//etc/passwd",
        "up/root/../secret.txt",
    ],
)
def test_what_is_outside_is_refused_and_the_roots_named(area, path):
    with pytest.raises(ToolError, match="outside of what may be read") as refused:
        Confined([area]).open_read(path)
    assert f"({area.name})" in str(refused.value)
    assert str(area.parent) not in str(refused.value).replace(path, "")


def test_existence_outside_is_not_revealed(area):
    confined = Confined([area])
    messages = []
    for path in ("../secret.txt", "../nothing.txt"):
        with pytest.raises(ToolError) as refused:
            confined.open_read(path)
        messages.append(str(refused.value).replace(path, "X"))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800", "a/" * 10_000])
def test_what_is_no_path_is_refused(area, path):
    with pytest.raises(ToolError, match="is not a path"):
        Confined([area]).open_read(path)


def test_a_symlink_loop_ends(area):
    with pytest.raises(ToolError, match="'loop'"):
        Confined([area]).open_read("loop")


def test_folders_fifos_and_long_names_are_refused(area):
    os.mkfifo(area / "fifo")
    confined = Confined([area])
    for path, reason in (("sub", "folder"), (".", "folder"), ("fifo", "fifo"), ("n" * 5000, "does not exist")):
        with pytest.raises(ToolError, match=reason):
            confined.open_read(path)


def test_a_missing_file_brings_a_suggestion(area):
    with pytest.raises(ToolError, match=r"Did you mean 'in.txt'"):
        Confined([area]).open_read("sub/inn.txt")


def test_a_root_can_be_one_file(area):
    confined = Confined([area / "sub" / "in.txt"])
    assert text_at(confined, "in.txt") == "inside"
    assert text_at(confined, str(area / "sub" / "in.txt")) == "inside"
    with pytest.raises(ToolError, match="outside"):
        confined.open_read(str(area / "foo..bar"))
    with pytest.raises(ToolError, match="is a file"):
        confined.open_folder("in.txt")


@pytest.mark.parametrize(
    ("roots", "names"),
    [
        (["root"], ["sub/in.txt"]),
        (["root/sub", "other"], ["sub/in.txt", "other/sub/in.txt"]),
        (["root/sub", "other/sub"], ["root/sub/in.txt", "other/sub/in.txt"]),
        (["root/sub/in.txt", "other"], ["in.txt", "other/sub/in.txt"]),
        (["other", "root", "root/sub"], ["other/sub/in.txt", "root/sub/in.txt"]),
    ],
)
def test_a_name_leads_back_to_its_file_and_tells_nothing_of_the_host(area, tmp_path, roots, names):
    (tmp_path / "other" / "sub").mkdir(parents=True)
    (tmp_path / "other" / "sub" / "in.txt").write_text("other")
    (area / "sub" / "sub").mkdir()
    (area / "sub" / "sub" / "in.txt").write_text("a trap: relative to the first root, 'sub/in.txt' is this one")
    confined = Confined([tmp_path / root for root in roots])
    for name in names:
        path = tmp_path / ("other" if name.startswith("other") else "root") / "sub" / "in.txt"
        assert confined.name(path) == name
        assert confined.locate(name).path == path


def test_a_root_that_is_a_symlink_is_followed_once(area, tmp_path):
    (tmp_path / "alias").symlink_to(area)
    confined = Confined([tmp_path / "alias"])
    assert text_at(confined, str(tmp_path / "alias" / "sub" / "in.txt")) == "inside"


def test_a_missing_root_is_a_usage_error(tmp_path):
    with pytest.raises(ConfigError, match="allowed_paths"):
        Confined([tmp_path / "gone"])


def test_a_folder_swapped_for_a_symlink_after_the_check_is_not_followed(area, tmp_path, monkeypatch):
    (tmp_path / "in.txt").write_text("secret")
    confined = Confined([area])
    located = confined.locate("sub/in.txt")
    (area / "sub").rename(area / "moved")
    (area / "sub").symlink_to(tmp_path)
    monkeypatch.setattr(confined, "locate", lambda _path: located)
    with pytest.raises(ToolError, match="cannot be read"):
        confined.open_read("sub/in.txt")


def test_a_file_swapped_for_a_symlink_is_not_followed(area):
    folder = os.open(area, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="symlink"):
            open_file("out", folder)
    finally:
        os.close(folder)


def test_no_descriptor_is_left_open(area):
    confined = Confined([area])
    before = descriptors()
    for path in ("sub/in.txt", "out", "sub/none", "loop", "sub"):
        try:
            os.close(confined.open_read(path))
        except ToolError:
            continue
    assert descriptors() == before
