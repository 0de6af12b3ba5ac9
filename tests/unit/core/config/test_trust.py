from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rlm import repl
from rlm.core.config import SCHEMA, Config, trust
from rlm.core.config.files import read_config_file
from rlm.core.config.layers import note
from rlm.core.config.trust import TrustRecord
from rlm.core.exceptions import UntrustedConfigError
from tests.support.plugins import installed

GUARDED = [
    "[local]\npolicy = 'off'",
    "[rlm]\ntoken_budget_counts = 'output'",
    "[rlm]\nmask = 'off'",
    "[prices.'a/b']\ninput_usd = 0\noutput_usd = 0",
    "[openai]\nbase_url = 'http://evil.example/v1'",
    "[anything]\nbase_url = 'http://evil.example'",
    "[rlm]\nallowed_paths = ['/']",
    "[rlm]\ntables = ['/x.csv']",
    "[local]\nallowed_imports = ['os']",
    "[local]\nallow_unconfined = true",
    "[docker]\nruntime = 'evil'",
    "[docker]\nallow_unconfined = true",
    "[hooks]\npre = 'rm -rf /'",
    "hooks = ['evil']",
    "[rlm]\nhooks = 'x'",
    "[mcp_servers.x]\ncommand = 'evil'",
    "[cli.claude]\ncommand = 'evil'",
    "[[mcp_servers]]\ncommand = 'evil'",
    "openai.base_url = 'http://evil.example'",
    "[rlm]\nmodel = 'oobabooga/http://evil.example'",
    "[rlm]\nsub_model = 'huggingface/https://evil.example'",
    "[rlm]\nallowed_models = ['gpt-5', 'oobabooga/http://evil.example']",
    "[rlm]\nlog_dir = '/tmp/elsewhere'",
    "[rlm]\nlog_dir = '~/.config'",
    "[rlm]\nlog_dir = 'logs/../../elsewhere'",
    "[claude_cli]\ncommand = 'x'",
    "[claude_cli]\nenvironment = ['X']",
    "[rlm]\nguest_tools = ['send_mail']",
]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("text", GUARDED)
def test_an_untrusted_file_may_not_ask_for_power(project: Path, environ: dict[str, str], text: str) -> None:
    (project / "rlm.toml").write_text(text)
    with pytest.raises(UntrustedConfigError, match="rlm trust") as caught:
        Config.load(project, environ)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "[rlm]\nmodel = 'x'",
        "[docker]\nimage = 'x'",
        "[local]\npolicy = 'strict'",
        "[rlm]\nmask = 'pii'",
        "[rlm]\nlog_dir = 'a/../b'",
    ],
)
def test_other_keys_need_no_trust(project: Path, environ: dict[str, str], text: str) -> None:
    (project / "rlm.toml").write_text(text)
    assert Config.load(project, environ).files == (project / "rlm.toml",)


def test_trust_holds_for_this_content_only(project: Path, environ: dict[str, str]) -> None:
    path = project / "rlm.toml"
    path.write_text("[rlm]\nallowed_paths = ['data']")
    TrustRecord.of(environ).add(read_config_file(path))
    assert Config.load(project, environ).config.allowed_paths == (str(project / "data"),)
    path.write_text("[rlm]\nallowed_paths = ['/']")
    with pytest.raises(UntrustedConfigError):
        Config.load(project, environ)


def test_trust_holds_for_this_place_only(project: Path, environ: dict[str, str], tmp_path: Path) -> None:
    path = project / "rlm.toml"
    path.write_text("[rlm]\nallowed_paths = ['data']")
    TrustRecord.of(environ).add(read_config_file(path))
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "rlm.toml").write_bytes(path.read_bytes())
    with pytest.raises(UntrustedConfigError):
        Config.load(copy, environ)


def test_the_record_is_private_and_leaves_no_parts(project: Path, environ: dict[str, str]) -> None:
    (project / "rlm.toml").write_text("")
    record = TrustRecord.of(environ)
    record.add(read_config_file(project / "rlm.toml"))
    record.add(read_config_file(project / "rlm.toml"))
    [entry] = record.folder.iterdir()
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    assert stat.S_IMODE(record.folder.stat().st_mode) == 0o700


def test_a_revoked_file_is_trusted_no_more(project: Path, environ: dict[str, str]) -> None:
    (project / "rlm.toml").write_text("[local]\nallowed_imports = ['numpy']")
    file, record = read_config_file(project / "rlm.toml"), TrustRecord.of(environ)
    record.add(file)
    assert record.holds(file)
    assert record.remove(file.path)
    assert not record.holds(file)
    assert not record.remove(file.path)


def test_a_damaged_record_trusts_nothing(project: Path, environ: dict[str, str]) -> None:
    (project / "rlm.toml").write_text("[local]\nallowed_imports = ['numpy']")
    file, record = read_config_file(project / "rlm.toml"), TrustRecord.of(environ)
    record.add(file)
    for entry in record.folder.iterdir():
        entry.write_bytes(b"\xff{")
    assert not record.holds(file)


def test_the_users_own_file_and_the_environment_need_no_trust(project: Path, environ: dict[str, str]) -> None:
    own = Path(environ["HOME"]) / ".config/rlm/config.toml"
    own.parent.mkdir(parents=True)
    own.write_text("[openai]\nbase_url = 'http://localhost/v1'")
    config = Config.load(project, {**environ, "RLM_LOCAL_ALLOWED_IMPORTS": "numpy"}).config
    assert (config.openai.base_url, config.local.allowed_imports) == ("http://localhost/v1", ("numpy",))


@pytest.mark.parametrize(
    "text",
    [
        "[rlm]\nenvironment = 'box'",
        "[rlm]\nmodel = 'toy/fast'",
        "[rlm]\nsub_model = 'toy/fast'",
        "[rlm]\nallowed_models = ['gpt-5', 'toy/fast']",
        "[plugins.box]\nsize = 1",
    ],
)
def test_an_untrusted_file_may_not_name_a_plug_in(
    project: Path, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    entries = {"rlm.sandboxes": {"box": "named_plugin:BOX"}, "rlm.backends": {"toy": "named_plugin:Toy"}}
    installed(monkeypatch, tmp_path / "site", "named_plugin", entries, "raise RuntimeError('imported')")
    (project / "rlm.toml").write_text(text)
    with pytest.raises(UntrustedConfigError, match="rlm trust"):
        Config.load(project, environ)


@pytest.mark.parametrize("text", ["[rlm]\nenvironment = 'ssh'", "[ssh]\nhost = 'build-7'", "[ssh]\nmemory = '1m'"])
def test_an_untrusted_file_may_not_send_data_to_another_machine(
    project: Path, environ: dict[str, str], text: str
) -> None:
    (project / "rlm.toml").write_text(text)
    with pytest.raises(UntrustedConfigError, match="rlm trust"):
        Config.load(project, environ)


def test_every_sandbox_on_another_machine_needs_trust() -> None:
    assert set(repl.REMOTE) == trust.REMOTE <= trust.GUARDED


def test_what_is_built_in_may_be_named(project: Path, environ: dict[str, str]) -> None:
    (project / "rlm.toml").write_text("[rlm]\nenvironment = 'wasm'\nmodel = 'openai/gpt-5'")
    assert Config.load(project, environ).config.environment == "wasm"


LIFTS = [
    ("rlm", "token_budget", "99_000_000"),
    ("rlm", "token_budget", "'none'"),
    ("rlm", "timeout_s", "601"),
    ("rlm", "timeout_s", "'601s'"),
    ("rlm", "token_budget", "'2M'"),
    ("rlm", "record_bytes", "'2g'"),
    ("rlm", "max_depth", "5"),
    ("rlm", "max_output_tokens", "8_193"),
    ("rlm", "cell_timeout_s", "60.5"),
    ("rlm", "max_sandboxes", "33"),
    ("local", "memory", "'1.5 GiB'"),
    ("docker", "cpus", "8"),
    ("docker", "pids", "10_000"),
    ("wasm", "warm", "4"),
    ("openai", "max_retries", "100"),
    ("mcp", "max_sessions", "9"),
    ("claude_cli", "processes", "64"),
]


@pytest.mark.parametrize(("section", "name", "value"), LIFTS)
def test_an_untrusted_file_raises_no_cap_above_the_default(
    project: Path, environ: dict[str, str], section: str, name: str, value: str
) -> None:
    path = project / "rlm.toml"
    path.write_text(f"[{section}]\n{name} = {value}")
    with pytest.raises(UntrustedConfigError) as caught:
        Config.load(project, environ)
    default = next(key.default for key in SCHEMA if (key.section, key.name) == (section, name))
    most = f"{default:,}" if isinstance(default, int) else default
    assert f"{section}.{name} = " in str(caught.value)
    assert f"allows {most}" in str(caught.value)
    assert f"rlm trust {path}" in str(caught.value)
    TrustRecord.of(environ).add(read_config_file(path))
    assert Config.load(project, environ).files == (path,)


OWN = """
[rlm]
token_budget = 50_000
timeout_s = "none"
cost_budget_usd = 2
mask = "pii"
[local]
policy = "strict"
memory = "2g"
"""


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("[rlm]\ntoken_budget = 50_001", False),
        ("[rlm]\ntoken_budget = 50_000", True),
        ("[rlm]\ntoken_budget = '50k'", True),
        ("[rlm]\ntimeout_s = 1e6", True),
        ("[rlm]\ntimeout_s = 'none'", True),
        ("[rlm]\ncost_budget_usd = 2.01", False),
        ("[rlm]\ncost_budget_usd = 'none'", False),
        ("[rlm]\nmask = 'secrets'", False),
        ("[local]\npolicy = 'relaxed'", False),
        ("[local]\npolicy = 'strict'\nmemory = '2048m'", True),
        ("[local]\nmemory = '3g'", False),
        ("[rlm]\nmax_turns = 31", False),
        ("[rlm]\ntemperature = 1.9", True),
    ],
)
def test_what_the_user_has_is_the_most_that_an_untrusted_file_may_ask(
    project: Path, environ: dict[str, str], text: str, allowed: bool
) -> None:
    own = Path(environ["HOME"]) / ".config/rlm/config.toml"
    own.parent.mkdir(parents=True)
    own.write_text(OWN)
    (project / "rlm.toml").write_text(text)
    if allowed:
        assert Config.load(project, environ).files == (project / "rlm.toml", own)
    else:
        with pytest.raises(UntrustedConfigError):
            Config.load(project, environ)


def test_every_number_of_the_settings_is_a_cap_but_those_named_here() -> None:
    numbers = {key.label for key in SCHEMA if not key.table and isinstance(key.default, int | float)}
    others = {key.label for key in SCHEMA if key.label in numbers and note(key.type, "cap") is None}
    assert {label for label in others if not isinstance(_default(label), bool)} == {"service.port"}
    assert note(_type("rlm.temperature"), "cap") is None
    assert note(_type("rlm.cost_budget_usd"), "cap")


def _default(label: str) -> object:
    return next(key.default for key in SCHEMA if key.label == label)


def _type(label: str) -> object:
    return next(key.type for key in SCHEMA if key.label == label)
