from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from rlm.cli.commands.visualize import FLAGS, HOST, _free_port, find_app, stay_inside, what_is_shown
from rlm.core.exceptions import ConfigError
from tests.architecture.sources import ROOT


def test_the_pages_of_a_checkout_are_found() -> None:
    assert find_app() == ROOT / "visualizer/app.py"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="pip install 'streamlit"):
        find_app()


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert what_is_shown(tmp_path) == f"showing the runs in {tmp_path}"
    assert what_is_shown(tmp_path / "absent").endswith("absent, which doesn't exist yet")


def test_a_port_in_use_is_refused_and_another_taken() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(ConfigError, match="--port 0"):
            _free_port(taken.getsockname()[1])
        assert _free_port(0) not in (0, taken.getsockname()[1])
    with pytest.raises(ConfigError, match="port 99999"):
        _free_port(99_999)


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, ("8.8.8.8", 1))),
        ("socket.connect", (None, ("2001:db8::1", 443, 0, 0))),
        ("socket.sendto", (None, ("192.0.2.1", 53))),
        ("socket.getaddrinfo", ("checkip.example", 80, 0, 0, 0)),
    ],
)
def test_nothing_leads_off_this_machine(event: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises(PermissionError, match="to this machine alone"):
        stay_inside(event, arguments)


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, (HOST, 8501))),
        ("socket.connect", (None, "/run/a.socket")),
        ("socket.getaddrinfo", (HOST, 80, 0, 0, 0)),
        ("open", ("8.8.8.8", "r", 0)),
    ],
)
def test_what_stays_here_is_left_alone(event: str, arguments: tuple[object, ...]) -> None:
    stay_inside(event, arguments)


def test_every_flag_is_one_that_streamlit_has() -> None:
    from streamlit import config  # here, for it takes long to load

    assert set(FLAGS) - set(config.get_config_options()) == set()
    assert FLAGS["server.address"] == HOST
    assert FLAGS["global.developmentMode"] == "false", "whatever folder Streamlit is installed in"
    assert FLAGS["browser.gatherUsageStats"] == "false"
