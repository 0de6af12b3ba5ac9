from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from rlm.core.config import SCHEMA, Config, Loaded
from rlm.core.exceptions import ConfigError
from rlm.core.fields import memory_bytes

DOCUMENT_EXAMPLE = """
[rlm]
model = "gpt-4o-mini"
environment = "docker"  # local, docker, wasm
max_depth = 4
token_budget = 8000

[docker]
image = "python:3.11-slim"
cpus = 1.0
memory = "512m"
"""


class Place:
    """A home, a project folder, and what is loaded there."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        self.project.mkdir()
        self.environ = {"HOME": str(root / "home"), "XDG_STATE_HOME": str(root / "state")}
        self.user_file = root / "home/.config/rlm/config.toml"

    def write(self, text: str) -> None:
        (self.project / "rlm.toml").write_text(text)

    def write_user(self, text: str) -> None:
        self.user_file.parent.mkdir(parents=True, exist_ok=True)
        self.user_file.write_text(text)

    def load(self, environ: dict[str, str] | None = None, **overrides: Any) -> Loaded:
        return Config.load(self.project, {**self.environ, **(environ or {})}, overrides)

    def complaint(self, environ: dict[str, str] | None = None, **overrides: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            self.load(environ, **overrides)
        return str(caught.value)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_nothing_set_gives_the_defaults(place: Place) -> None:
    loaded = place.load()
    assert loaded.config == Config()
    assert {str(origin) for origin in loaded.origins.values()} == {"default"}
    assert loaded.files == loaded.warnings == ()


def test_the_example_of_the_source_document_loads_as_it_stands(place: Place) -> None:
    place.write(DOCUMENT_EXAMPLE)
    config = place.load().config
    assert (config.model, config.environment) == ("gpt-4o-mini", "docker")
    assert (config.budget.max_depth, config.budget.token_budget) == (4, 8000)
    assert (config.docker.image, config.docker.cpus, config.docker.memory_bytes) == ("python:3.11-slim", 1.0, 512 << 20)


def test_each_layer_wins_over_the_one_below(place: Place) -> None:
    assert place.load().config.model is None
    place.write_user('[rlm]\nmodel = "user"')
    assert place.load().config.model == "user"
    place.write('[rlm]\nmodel = "project"')
    assert place.load().config.model == "project"
    assert place.load({"RLM_MODEL": "environment"}).config.model == "environment"
    assert place.load({"RLM_MODEL": "environment"}, model="flag").config.model == "flag"


def test_layers_mix_key_by_key_and_origins_say_which(place: Place) -> None:
    place.write_user("[rlm]\nmax_turns = 7\n[local]\npolicy = 'strict'")
    place.write("[rlm]\nmax_depth = 2")
    loaded = place.load({"RLM_TOKEN_BUDGET": "5"}, temperature="0.5")
    shown = {label: str(origin) for label, origin in loaded.origins.items() if origin.source != "default"}
    assert shown == {
        "rlm.max_turns": f"user {place.user_file}",
        "local.policy": f"user {place.user_file}",
        "rlm.max_depth": f"project {place.project}/rlm.toml",
        "rlm.token_budget": "environment RLM_TOKEN_BUDGET",
        "rlm.temperature": "command line --temperature",
    }


def test_every_key_has_a_variable_of_its_own() -> None:
    variables = [key.variable for key in SCHEMA]
    assert len(set(variables)) == len(variables)
    assert {"RLM_MODEL", "RLM_ENVIRONMENT", "RLM_TOKEN_BUDGET", "RLM_LOCAL_POLICY", "RLM_PRICES"} <= set(variables)


@pytest.mark.parametrize(
    ("variable", "text", "label", "value"),
    [
        ("RLM_TOKEN_BUDGET", "none", "budget.token_budget", None),
        ("RLM_TOKEN_BUDGET", "1_000_000", "budget.token_budget", 1_000_000),
        ("RLM_COST_BUDGET_USD", "1.5", "budget.cost_budget_usd", 1.5),
        ("RLM_LOCAL_POLICY", "off", "local.policy", "off"),
        ("RLM_ALLOWED_MODELS", "a/b, c", "allowed_models", ("a/b", "c")),
        ("RLM_GUEST_TOOLS", "none", "guest_tools", ()),
        ("RLM_LOCAL_ALLOW_UNCONFINED", "true", "local.allow_unconfined", True),
        ("RLM_OPENAI_BASE_URL", "http://localhost:1/v1", "openai.base_url", "http://localhost:1/v1"),
        ("RLM_MODEL", "  ", "model", None),
        ("RLM_LOG_DIR", "~/x", "log_dir", "HOME/x"),
    ],
)
def test_a_variable_is_read_as_text(place: Place, variable: str, text: str, label: str, value: object) -> None:
    found: Any = place.load({variable: text}).config
    for name in label.split("."):
        found = getattr(found, name)
    expected = value.replace("HOME", place.environ["HOME"]) if isinstance(value, str) else value
    assert found == expected


def test_prices_come_from_a_file_or_a_variable(place: Place) -> None:
    place.write_user('[prices."a/b"]\ninput_usd = 1\noutput_usd = 2')
    prices = place.load({"RLM_PRICES": '{ "c/d" = { input_usd = 3, output_usd = 4 } }'}).config.prices
    assert {name: price.output_usd for name, price in prices.items()} == {"a/b": 2.0, "c/d": 4.0}


def test_a_price_that_lacks_a_part_is_refused(place: Place) -> None:
    place.write_user("[prices.'a/b']\ninput_usd = 1")
    assert "expected a table of input_usd, output_usd, cached_usd (optional)" in place.complaint()


def test_none_in_a_file_is_no_cap(place: Place) -> None:
    place.write_user('[rlm]\ntoken_budget = "none"\ntimeout_s = "none"')
    budget = place.load().config.budget
    assert budget.token_budget is budget.timeout_s is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[rlm]\ntoken_buget = 1", "unknown key token_buget in [rlm]\ndid you mean token_budget?"),
        ("[rml]\nmodel = 'x'", "unknown section [rml]\ndid you mean rlm?"),
        ("[rlm]\npolicy = 'strict'", "unknown key policy in [rlm]\nit belongs in [local]"),
        ("model = 'x'", "model stands outside any section\nput it below [rlm]"),
        ("docker = 'x'", "docker is a section"),
        ("[rlm]\nzzz = 1", "unknown key zzz in [rlm]"),
        ("[rlm]\nmax_depth = 'x'", "max_depth in [rlm]: expected a whole number of at least 0, got 'x'"),
        ("[rlm]\nmax_depth = true", "expected a whole number of at least 0, got True"),
        ("[rlm]\ntoken_budget = 0", "expected a whole number of at least 1 or none, got 0"),
        ("[rlm]\ntimeout_s = -1", "expected a number above 0 or none, got -1"),
        ("[rlm]\ntimeout_s = inf", "expected a number above 0 or none, got inf"),
        ("[rlm]\ntimeout_s = nan", "expected a number above 0 or none, got nan"),
        ("[rlm]\nenvironment = 5", "expected text, got 5"),
        ("[rlm]\nallowed_models = 'x'", "expected a list of texts, got 'x'"),
        ("[rlm]\nmodel = 5", "expected text or none, got 5"),
        ("[docker]\nmemory = 'lots'", "expected a size such as 512m or 1GiB, got 'lots'"),
        ("[local]\nallow_unconfined_x = 1", "did you mean allow_unconfined?"),
        ("[rlm]\nmodel = 'x'\nmodel = 'y'", "rlm.toml:3:"),
        ("[rlm]\nmodel = ", "rlm.toml:2:9: Invalid value"),
        ("x = " + "[" * 9999, "nested too deeply"),
    ],
)
def test_a_wrong_file_is_refused_by_name_and_reason(place: Place, text: str, said: str) -> None:
    place.write(text)
    complaint = place.complaint()
    assert said in complaint
    assert str(place.project / "rlm.toml") in complaint


@pytest.mark.parametrize("key", ["api_key", "openai_api_key", "password", "secret", "access_token", "token"])
def test_a_secret_in_a_file_is_refused_without_repeating_it(place: Place, key: str) -> None:
    place.write(f'[openai]\n{key} = "sk-live-1234"')
    complaint = place.complaint()
    assert "set it in the environment" in complaint
    assert "sk-live" not in complaint


def test_a_wrong_variable_and_a_wrong_flag_are_named(place: Place) -> None:
    assert place.complaint({"RLM_MAX_TURNS": "many"}).startswith("RLM_MAX_TURNS: expected a whole number")
    assert place.complaint(max_turns="many").startswith("--max-turns: expected a whole number")
    assert "did you mean max_turns?" in place.complaint(max_turn=1)
    assert place.complaint({"RLM_PRICES": "{"}).startswith("RLM_PRICES: expected a TOML table")


def test_an_unknown_variable_is_a_warning_with_a_suggestion(place: Place) -> None:
    [warning] = place.load({"RLM_TOKEN_BUGDET": "5", "OTHER": "x"}).warnings
    assert warning.startswith("RLM_TOKEN_BUGDET is no setting of rlm and is ignored")
    assert "did you mean RLM_TOKEN_BUDGET?" in warning


def test_the_project_file_is_found_above_within_a_checkout_only(place: Place) -> None:
    place.write('[rlm]\nmodel = "above"\nlog_dir = "records"')
    below = place.project / "a/b"
    below.mkdir(parents=True)
    assert Config.load(below, place.environ).config.model is None
    (place.project / ".git").mkdir()
    config = Config.load(below, place.environ).config
    assert (config.model, config.log_dir) == ("above", str(place.project / "records"))


def test_a_checkout_below_doesnt_take_the_file_of_one_above(place: Place) -> None:
    place.write('[rlm]\nmodel = "outer"')
    (place.project / ".git").mkdir()
    inner = place.project / "vendored"
    (inner / ".git").mkdir(parents=True)
    assert Config.load(inner, place.environ).config.model is None


def test_a_checkout_that_somebody_else_planted_above_is_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write('[rlm]\nmodel = "planted"')
    (place.project / ".git").mkdir()
    (place.project / "mine").mkdir()
    monkeypatch.setattr(Path, "lstat", lambda _path: SimpleNamespace(st_uid=os.geteuid() + 1))
    assert Config.load(place.project / "mine", place.environ).config.model is None


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: p.symlink_to("missing"), lambda p: p.symlink_to(p)])
def test_a_project_file_that_cannot_be_read_is_an_error(place: Place, make: Any) -> None:
    make(place.project / "rlm.toml")
    assert str(place.project / "rlm.toml") in place.complaint()


def test_a_pipe_doesnt_hang_and_a_huge_file_isnt_read(place: Place) -> None:
    import os

    os.mkfifo(place.project / "rlm.toml")
    assert "not a regular file" in place.complaint()
    (place.project / "rlm.toml").unlink()
    place.write("#" * (2 << 20))
    assert "larger than 1 MiB" in place.complaint()


def test_a_file_that_is_not_utf8_is_an_error_with_its_line(place: Place) -> None:
    (place.project / "rlm.toml").write_bytes(b"[rlm]\n# \xff\n")
    assert "rlm.toml:2: not UTF-8" in place.complaint()


def test_a_relative_xdg_folder_is_ignored_and_no_home_is_no_error(place: Place) -> None:
    assert Config.load(place.project, {"XDG_CONFIG_HOME": "project"}).files == ()


def test_the_configuration_survives_a_round_trip(place: Place) -> None:
    place.write(DOCUMENT_EXAMPLE)
    config = place.load().config
    assert msgspec.convert(msgspec.to_builtins(config), Config) == config


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 512 << 20), ("1g", 1 << 30), ("1GiB", 1 << 30), ("1.5 kb", 1536), ("7", 7), ("2T", 2 << 40)],
)
def test_memory_sizes(text: str, size: int) -> None:
    assert memory_bytes(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1m", "1x", "1 000", "infg"])
def test_no_memory_size(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        memory_bytes(text)


def test_a_plug_in_reads_its_settings_as_its_own_struct() -> None:
    class BoxSettings(msgspec.Struct, forbid_unknown_fields=True):
        size: int = 3

    assert Config(plugins={"box": {"size": 5}}).plugin("box", BoxSettings).size == 5
    assert Config().plugin("box", BoxSettings).size == 3
    with pytest.raises(ConfigError, match=r"\[plugins.box\]: Expected `int`, got `str` - at `\$.size`"):
        Config(plugins={"box": {"size": "x"}}).plugin("box", BoxSettings)
    with pytest.raises(ConfigError, match="unknown field `sise`"):
        Config(plugins={"box": {"sise": 1}}).plugin("box", BoxSettings)


@pytest.mark.parametrize(
    ("label", "text", "value"),
    [
        ("timeout_s", "5m", 300.0),
        ("timeout_s", "1h30m", 5400.0),
        ("cell_timeout_s", "1.5", 1.5),
        ("docker.ttl_s", "2d", 172_800.0),
        ("token_budget", "2M", 2_000_000),
        ("max_output_tokens", "1.5k", 1_500),
        ("token_budget", "2_000_000", 2_000_000),
        ("record_bytes", "2g", 2 << 30),
        ("local.memory", "512M", "512M"),
    ],
)
def test_amounts_are_written_in_one_form_in_options_variables_and_files(tmp_path, label, text, value):
    key = SCHEMA.named(label)
    (user := tmp_path / ".config/rlm/config.toml").parent.mkdir(parents=True)
    for file, environ, overrides in ((text, {}, {}), ("", {key.variable: text}, {}), ("", {}, {label: text})):
        user.write_text(f'[{key.section}]\n{key.name} = "{file}"\n' if file else "")
        loaded = Config.load(tmp_path, {"HOME": str(tmp_path), **environ}, overrides)
        settings = msgspec.to_builtins(loaded.config)
        assert (settings if key.home == key.name else settings[key.home])[key.name] == value
