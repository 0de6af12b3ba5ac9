from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm.core.exceptions import ToolError
from rlm.core.paths import Confined

NAMES = st.sampled_from(["..", ".", "", "a", "b", "up", "out", "abs", "secret", "root", "x..y"])
PATHS = st.builds(
    lambda lead, parts: lead + "/".join(parts), st.sampled_from(["", "/", "//"]), st.lists(NAMES, max_size=6)
)


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    top = tmp_path_factory.mktemp("area")
    root = top / "root"
    (root / "a" / "b").mkdir(parents=True)
    for folder in (root, root / "a", root / "a" / "b"):
        (folder / "x..y").write_text("inside")
        (folder / "secret").write_text("inside")
    (top / "secret").write_text("outside")
    (top / "x..y").write_text("outside")
    (root / "up").symlink_to("..")
    (root / "a" / "out").symlink_to("../../secret")
    (root / "a" / "abs").symlink_to(top)
    return root


@given(path=PATHS)
def test_nothing_outside_is_ever_read(area, path):
    try:
        fd = Confined([area]).open_read(path)
    except ToolError:
        return
    with os.fdopen(fd) as file:
        assert file.read() == "inside"


@given(path=PATHS)
def test_what_would_be_made_is_inside_and_behind_no_symlink(area, path):
    try:
        place = Confined([area]).locate_new(path)
    except ToolError:
        return
    assert place.path.is_relative_to(area)
    assert os.path.realpath(place.path) == str(place.path)
    assert not any(os.path.lexists(folder.path) for folder in place.missing_folders)
    assert os.path.lexists(place.path) == (not place.missing)


@given(path=st.text(max_size=30))
def test_any_text_is_answered_by_a_file_or_a_refusal(area, path):
    try:
        os.close(Confined([area]).open_read(path))
    except ToolError as refused:
        str(refused).encode()
