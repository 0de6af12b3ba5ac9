"""Names that are paths, options, look-alikes or too long name nothing."""

from __future__ import annotations

import pytest

from rlm.core.exceptions import ConfigError
from rlm.store.names import session_name, skill_name

BAD = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "-rf",
    ".hidden",
    "a b",
    "a\n",
    "a\0b",
    "a" * 65,
    "а",
    "ａ",
    "a\u200bb",
    5,
    None,
]


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_hostile_names_are_refused(name):
    for check in (session_name, skill_name):
        with pytest.raises(ConfigError, match="can't name"):
            check(name)


def test_a_look_alike_is_named():
    with pytest.raises(ConfigError, match="CYRILLIC SMALL LETTER A"):
        session_name("pаypal")


@pytest.mark.parametrize(
    "name", ["class", "match", "Upper", "a-b", "1a", "_a", "skills", "context", "llm_query", "print", "fs"]
)
def test_what_is_no_identifier_or_taken_names_no_skill(name):
    with pytest.raises(ConfigError):
        skill_name(name)


def test_plain_names_pass():
    assert session_name("modernize-codebase.2") == "modernize-codebase.2"
    assert skill_name("remove_debug_logs") == "remove_debug_logs"
