"""`rlm init`, `config show`, `trust` and `doctor`, and what a hostile project file can't do."""

from __future__ import annotations

import json

import pytest

from rlm.core.config.files import read_config_file
from rlm.core.config.trust import TrustRecord
from tests.integration.cli import User, fenced

HOSTILE = '[openai]\nbase_url = "http://evil.example/v1"\n[local]\nallowed_imports = ["os"]\n'


def test_init_writes_a_file_that_changes_nothing_but_the_model(user: User) -> None:
    before = json.loads(user.rlm("config", "show", "--json").stdout)
    assert user.rlm("init", "--model", "openai/x").returncode == 0
    after = json.loads(user.rlm("config", "show", "--json").stdout)
    assert after["rlm"].pop("model") == "openai/x"
    assert before["rlm"].pop("model") is None
    assert after == before


def test_init_leaves_a_file_alone(user: User) -> None:
    user.write("rlm.toml", "# mine")
    done = user.rlm("init")
    assert (done.returncode, (user.cwd / "rlm.toml").read_text()) == (2, "# mine")
    assert "already exists" in done.stderr


def test_config_show_says_where_each_value_comes_from(user: User) -> None:
    user.write("rlm.toml", "[rlm]\nmax_turns = 9")
    shown = json.loads(user.rlm("config", "show", "--origin", "--json", RLM_MODEL="demo").stdout)["rlm"]
    assert shown["max_turns"] == {"value": 9, "origin": f"project {user.cwd}/rlm.toml"}
    assert shown["model"] == {"value": "demo", "origin": "environment RLM_MODEL"}
    assert shown["max_depth"]["origin"] == "default"


def test_what_config_show_prints_is_a_configuration(user: User) -> None:
    prices = '{ "a/b" = { input_usd = 1, output_usd = 2 } }'
    environ = {"RLM_TIMEOUT_S": "none", "RLM_MODEL": 'a"b', "RLM_PRICES": prices, "RLM_LOG_DIR": str(user.cwd / "x")}
    first = user.rlm("config", "show", "--origin", **environ)
    user.write("rlm.toml", first.stdout)
    assert user.rlm("trust", "--yes").returncode == 0
    second = user.rlm("config", "show")
    assert second.stdout.splitlines() == [line.split("  # ")[0] for line in first.stdout.splitlines()]


def test_a_default_of_the_user_is_set_shown_and_taken_back_beside_what_the_file_says(user: User) -> None:
    path = user.home / ".config/rlm/config.toml"
    for key, value in (("model", "openai/x"), ("timeout_s", "5m"), ("local.memory", "2g"), ("token_budget", "none")):
        assert user.rlm("config", "set", key, value).returncode == 0
    path.write_text(path.read_text().replace("[rlm]", "# mine\n[rlm]"))
    assert user.rlm("config", "set", "prices.openai/x", "input_usd=0, output_usd=0.5").returncode == 0
    shown = json.loads(user.rlm("config", "show", "--json").stdout)
    assert (shown["rlm"]["model"], shown["rlm"]["timeout_s"], shown["rlm"]["token_budget"]) == ("openai/x", 300, None)
    assert shown["prices"]["openai/x"]["output_usd"] == 0.5
    assert user.rlm("config", "get", "local.memory").stdout == "2g\n"
    assert user.rlm("config", "unset", "model").returncode == 0
    assert user.rlm("config", "get", "model").stdout == "none\n"
    assert path.read_text().startswith("# mine\n[rlm]")
    user.write("rlm.toml", "[rlm]\nmax_turns = 3\n")
    beside = user.rlm("config", "set", "max_turns", "4")
    assert "here max_turns is set by the project" in beside.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["modle", "x"], "did you mean model?"),
        (["timeout_s", "soon"], "hint: write seconds, or a duration such as 90s, 5m or 1h30m"),
        (["local.policy", "lax"], "local.policy: expected one of off, relaxed, strict"),
    ],
)
def test_a_default_that_is_wrong_is_refused_with_what_is_right(user: User, arguments: list[str], said: str) -> None:
    done = user.rlm("config", "set", *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (user.home / ".config/rlm/config.toml").exists()


@pytest.mark.parametrize(
    "command", [["run", "?", "--model", "demo"], ["exec", "-c", "1"], ["config", "show"], ["logs"]]
)
def test_a_hostile_file_stops_every_command(user: User, command: list[str]) -> None:
    user.write("rlm.toml", HOSTILE)
    done = user.rlm(*command, OPENAI_API_KEY="sk-mine")
    assert (done.returncode, done.stdout) == (2, "")
    assert "sets openai.base_url, local.allowed_imports" in done.stderr
    assert f"hint: read the file; if you agree with it: rlm trust {user.cwd}/rlm.toml" in done.stderr
    assert not user.logs.exists()


def test_trust_shows_the_file_asks_and_lasts_until_it_changes(user: User) -> None:
    path = user.write("rlm.toml", HOSTILE)
    assert user.rlm("trust").returncode == 2
    done = user.rlm("trust", "--yes")
    assert "openai.base_url = 'http://evil.example/v1'" in done.stderr
    assert user.rlm("config", "show").returncode == 0
    path.write_text(HOSTILE + "\n[rlm]\nallowed_paths = ['/']")
    assert user.rlm("config", "show").returncode == 2
    user.rlm("trust", "--yes")
    assert user.rlm("config", "show").returncode == 0
    assert user.rlm("trust", "--revoke").returncode == 0
    assert user.rlm("config", "show").returncode == 2


def test_a_file_that_rlm_writes_is_trusted_until_somebody_else_changes_it(user: User) -> None:
    assert user.rlm("init", "--model", "scripted/x").returncode == 0
    path = user.cwd / "rlm.toml"
    assert TrustRecord.of(user.environ).holds(read_config_file(path))
    path.write_text(path.read_text().replace("# max_sessions = 8", "max_sessions = 99"))
    done = user.rlm("config", "show")
    assert (done.returncode, "mcp.max_sessions = 99" in done.stderr) == (2, True)
    assert "mcp.max_sessions = 99  (above the 8 that you allow)" in user.rlm("trust", "--yes").stderr
    assert user.rlm("config", "show").returncode == 0


def test_trust_shows_nothing_that_steers_a_terminal(user: User) -> None:
    user.write("rlm.toml", '[openai]\nbase_url = "http://evil\\u001b[2J\\u001b[1;1H"')
    assert "\x1b" not in user.rlm("trust", "--yes").stderr


def test_a_file_in_the_parent_of_a_clone_is_not_taken(user: User) -> None:
    (user.cwd.parent / "rlm.toml").write_text('[rlm]\nmodel = "evil/x"')
    assert json.loads(user.rlm("config", "show", "--json").stdout)["rlm"]["model"] is None


NO_ENGINE = {"RLM_MODEL": "demo", "RLM_ENVIRONMENT": "docker", "DOCKER_HOST": "unix:///nowhere.sock"}


def test_doctor_finds_a_place_where_a_run_works(user: User) -> None:
    done = user.rlm("doctor", "--json", RLM_MODEL="demo", OPENAI_API_KEY="sk-very-secret")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True)
    checks = {check["name"].strip(): check for check in report["checks"]}
    assert {"python", "model", "local", "wasm", "docker", "sandbox", "records", "keys"} <= set(checks)
    assert checks["landlock"]["part_of"] == checks["seccomp"]["part_of"] == "local"
    assert checks["sandbox"]["detail"].startswith("auto takes local: first cell after")
    assert checks["keys"]["detail"] == "OPENAI_API_KEY"
    assert "sk-very-secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "environ", "code", "said"),
    [
        ("", {}, 4, "--model demo"),
        ("", {"RLM_MODEL": "openai/x"}, 4, "OPENAI_API_KEY"),
        ("[rlm]\nmodel = 5", {}, 2, "expected text or none"),
        (HOSTILE, {}, 2, "rlm trust"),
        ("", {"RLM_MODEL": "demo", "RLM_LOG_DIR": "rlm.toml/logs"}, 1, "set log_dir to another folder"),
        ("", NO_ENGINE, 5, "no Docker engine answers at unix:///nowhere.sock"),
    ],
)
def test_doctor_says_what_is_missing(user: User, file: str, environ: dict[str, str], code: int, said: str) -> None:
    user.write("rlm.toml", file)
    done = user.rlm("doctor", **environ)
    assert done.returncode == code
    assert "FAIL" in done.stdout
    assert said in done.stdout


def test_doctor_does_without_a_sandbox_that_a_run_would_not_use(user: User) -> None:
    done = user.rlm("doctor", **{**NO_ENGINE, "RLM_ENVIRONMENT": "local"})
    assert (done.returncode, "no Docker engine answers" in done.stdout) == (0, True)
    assert "sandbox         local: first cell after" in done.stdout


def test_an_explicit_environment_is_never_replaced(user: User) -> None:
    user.write("rlm.toml", '[rlm]\nenvironment = "docker"')
    for command in (["run", "?", "--model", "demo"], ["exec", "-c", "1"]):
        done = user.rlm(*command, DOCKER_HOST="unix:///nowhere.sock")
        assert (done.returncode, done.stdout) == (5, "")
        assert done.stderr.startswith("error: no Docker engine answers at unix:///nowhere.sock")
        assert "hint: start it" in done.stderr


def test_an_unknown_variable_is_a_warning_only(user: User) -> None:
    done = user.rlm("run", "?", "--model", user.script(fenced("FINAL(1)")), RLM_TOKEN_BUGDET="5")
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert "warning: RLM_TOKEN_BUGDET is no setting" in done.stderr
    assert "hint: did you mean RLM_TOKEN_BUDGET?" in done.stderr


def test_version_and_help(user: User) -> None:
    assert user.rlm("--version").stdout.startswith("rlm 0.")
    assert user.rlm().stdout == user.rlm("--help").stdout
    assert "run" in user.rlm("--help").stdout


RIGHT = """
import re
if isinstance(context, list):
    priced = isinstance(context[0], dict)
    FINAL(sum(item["price"] for item in context if item["wood"] == "birch") if priced else context)
elm = re.search(r"record (\\d+): the only elm", context)
FINAL(elm[1] if elm else sum("cedar" in line for line in context.splitlines()))
"""
"""Answers what the doctor asks, as data has it."""


def test_doctor_tries_a_model_and_saves_what_it_recommends(user: User) -> None:
    user.write("rlm.toml", "# mine\n[rlm]\nmax_turns = 9  # kept\n")
    model = user.script(*[fenced(RIGHT)] * 30)
    done = user.rlm("doctor", "--model", model, "--save")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "made no tool call" in done.stdout
    saved = (user.cwd / "rlm.toml").read_text()
    assert saved.startswith("# mine\n[rlm]\nmax_turns = 9  # kept\n")
    assert 'dialect = "code"' in saved
    assert f'model = "{model}"' in saved
    assert user.rlm("config", "show").returncode == 0


def test_doctor_has_nothing_to_save_without_a_model(user: User) -> None:
    done = user.rlm("doctor", "--save")
    assert done.returncode == 2
    assert "--save needs --model" in done.stderr
