"""What users import: short, sorted, and all there."""

from __future__ import annotations

import tomllib

import rlm
from rlm.core import exceptions
from rlm.core.exceptions import RLMError
from tests.architecture.sources import ROOT, SRC

EXIT_CODES = {1, 2, 3, 4, 5}


def errors() -> dict[str, type[RLMError]]:
    found = [RLMError]
    for error in found:
        found.extend(sub for sub in error.__subclasses__() if sub.__module__ == exceptions.__name__)
    return {error.__name__: error for error in found}


def test_public_names_are_sorted_and_resolve() -> None:
    assert rlm.__all__ == sorted(rlm.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert [name for name in rlm.__all__ if getattr(rlm, name, None) is None] == []
    assert set(rlm.__all__) <= set(dir(rlm))


def test_the_face_is_short() -> None:
    assert len((SRC / "rlm/__init__.py").read_text(encoding="utf-8").splitlines()) < 60


def test_the_version_stands_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert rlm.__version__ == project["version"]


def test_every_error_is_public_drawn_in_the_tree_and_has_an_exit_code() -> None:
    tree = exceptions.__doc__ or ""
    assert sorted(errors()) == sorted(exceptions.__all__)
    assert [name for name in errors() if name not in tree.replace("(", " ").split()] == []
    assert {error.exit_code for error in errors().values()} <= EXIT_CODES


def test_the_exit_codes_drawn_are_the_real_ones() -> None:
    drawn = [line.split() for line in (exceptions.__doc__ or "").splitlines() if " exit " in line]
    told = {next(word for word in words if word.isidentifier()): int(words[-1]) for words in drawn}
    assert told.items() <= {name: error.exit_code for name, error in errors().items()}.items()
    assert len(told) > 5
