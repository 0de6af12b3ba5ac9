"""A sandbox of the table is proved like the others, or a test fails."""

from __future__ import annotations

from rlm.repl import REMOTE, SANDBOXES
from tests.architecture.sources import ROOT
from tests.support.environments import settings_of


def test_every_sandbox_is_proved_by_the_suite() -> None:
    modules = (ROOT / "tests" / "contract").glob("test_*.py")
    proved = {path.stem.removeprefix("test_") for path in modules if "(SandboxSuite" in path.read_text("utf-8")}
    assert proved == {*SANDBOXES, *REMOTE}


def test_every_sandbox_has_settings_for_the_tests_of_all() -> None:
    assert [settings_of(name)["environment"] for name in SANDBOXES] == list(SANDBOXES)
