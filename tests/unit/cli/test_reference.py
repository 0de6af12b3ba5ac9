from __future__ import annotations

import re
import tomllib
from pathlib import Path

from docs import generate_cli
from rlm.cli.reference import example, meaning, toml_value
from rlm.core.config import SCHEMA, Config


def test_the_documents_are_current() -> None:
    assert generate_cli.render() == generate_cli.TARGET.read_text(encoding="utf-8"), "run `make docs`"
    assert example() == generate_cli.EXAMPLE.read_text(encoding="utf-8"), "run `make docs`"


def test_every_key_has_a_meaning_and_stands_in_the_example() -> None:
    text = example()
    assert [key.label for key in SCHEMA if not meaning(key)] == []
    assert [key.label for key in SCHEMA if not key.table and f"\n# {key.name} " not in text] == []


def test_the_example_loads_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "rlm.toml").write_text(example())
    assert Config.load(tmp_path, {}).config == Config()


def test_every_default_of_the_example_is_the_default(tmp_path: Path) -> None:
    shown = example().partition("\n# [")[0]
    (tmp_path / "rlm").mkdir()
    (tmp_path / "rlm/config.toml").write_text(re.sub(r"(?m)^# (\w+ = )", r"\1", shown))
    loaded = Config.load(tmp_path, {"XDG_CONFIG_HOME": str(tmp_path)})
    assert loaded.config == Config()
    assert (
        sum(origin.source == "user" for origin in loaded.origins.values())
        >= len([key for key in SCHEMA if not key.table]) - 1
    )


def test_values_are_toml() -> None:
    for value in ('a"b\\c\n\x7f\u00e9', 5, 1.5, True, ["a", "b"], {"a/b": {"c": 1.0}}):
        assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value
