"""Skills on disk: each save a version, found by name or by name and version."""

from __future__ import annotations

import pytest

from rlm.core.exceptions import ConfigError
from rlm.skills.store import MAX_CODE_CHARS, Skill, SkillStore, parse_reference
from rlm.store.database import Database


@pytest.fixture
def store(tmp_path):
    return SkillStore(Database(tmp_path / "store.sqlite"))


def skill(**parts):
    return Skill(**{"name": "strip", "description": "Strips.", "code": "def strip(): ...", **parts})


def test_each_save_is_a_version(store):
    assert [store.save(skill(code=code)).version for code in ("a = 1", "a = 2")] == [1, 2]
    assert store.load("strip").code == "a = 2"
    assert store.load("strip", 1).code == "a = 1"
    assert [(each.name, each.version) for each in store.all()] == [("strip", 2)]


def test_one_version_or_all_are_forgotten(store):
    for _ in range(3):
        store.save(skill())
    assert store.delete("strip", 2) == 1
    assert store.delete("strip") == 2
    with pytest.raises(ConfigError, match="no skill 'strip'"):
        store.load("strip")
    with pytest.raises(ConfigError, match="no version 7"):
        store.load("strip", 7)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"name": "../x"}, "can't name"),
        ({"description": " "}, "description"),
        ({"code": "\n"}, "no code"),
        ({"code": "x" * (MAX_CODE_CHARS + 1)}, "at most"),
    ],
)
def test_a_skill_with_a_part_missing_or_too_long_is_refused(store, parts, why):
    with pytest.raises(ConfigError, match=why):
        store.save(skill(**parts))
    assert store.all() == []


def test_references():
    assert parse_reference("strip") == ("strip", None)
    assert parse_reference("strip@12") == ("strip", 12)
    for bad in ("strip@", "strip@x", "strip@-1", "@1", "strip@1@2", "strip@٣"):
        with pytest.raises(ConfigError):
            parse_reference(bad)
