"""A sandbox of the table is proved like the others, or a test fails."""

from __future__ import annotations

from rlm.repl import REMOTE, SANDBOXES
from tests.architecture.sources import ROOT
from tests.support.environments import settings_of

OVER_A_LINE = "ssh"
"""The one that is proved of those on other machines: they differ in the line alone, which has tests of its own."""


def test_every_sandbox_is_proved_by_the_suite() -> None:
    modules = (ROOT / "tests" / "contract").glob("test_*.py")
    proved = {path.stem.removeprefix("test_") for path in modules if "(SandboxSuite" in path.read_text("utf-8")}
    assert proved == {*SANDBOXES, OVER_A_LINE}


def test_every_sandbox_on_another_machine_is_of_the_launcher_that_is_proved() -> None:
    sources = [(ROOT / "src" / "rlm" / "repl" / name / "launcher.py").read_text("utf-8") for name in REMOTE]
    assert all("RemoteLauncher.start(" in source for source in sources)


def test_every_sandbox_has_settings_for_the_tests_of_all() -> None:
    assert [settings_of(name)["environment"] for name in SANDBOXES] == list(SANDBOXES)
