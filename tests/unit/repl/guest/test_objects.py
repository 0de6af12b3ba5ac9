from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from rlm.repl.guest.objects import argument_form, objects_of


def test_names_with_a_dot_become_objects():
    objects = objects_of({"fs.glob": len, "fs.stat": repr, "git.log": str, "plain": int})
    assert {name: dir(each) for name, each in objects.items()} == {"fs": ["glob", "stat"], "git": ["log"]}
    assert objects["fs"].glob is len
    with pytest.raises(AttributeError, match="fs has no 'globb'; it has glob, stat"):
        objects["fs"].globb  # noqa: B018


def test_a_path_among_arguments_goes_as_its_text():
    assert argument_form(PurePosixPath("a/b.py")) == "a/b.py"
    assert argument_form([{"source_file": PurePosixPath("a")}, 1]) == [{"source_file": "a"}, 1]


@pytest.mark.parametrize("value", [object(), [range(2)], {"a": len}])
def test_what_has_no_form_is_never_shown_in_its_place(value):
    with pytest.raises(TypeError, match="a helper can't be given a "):
        argument_form(value)
