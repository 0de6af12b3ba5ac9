"""What loads when: the first second of a user's time goes to their question, not to packages they may never need."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    "RestrictedPython",
    "acp",
    "aiohttp",
    "litellm",
    "mcp",
    "numpy",
    "pandas",
    "pydantic",
    "rich",
    "streamlit",
    "typer",
}
NEVER_FOR_HELP = {"acp", "aiohttp", "litellm", "mcp", "numpy", "pandas", "pydantic", "streamlit"}

HELP = """
import sys
sys.argv = ["rlm", "--help"]
try:
    from rlm.cli.main import main
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def loaded_by(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after `code`."""
    report = "import json, sys\nsys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr))


def test_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_by("import rlm")
    assert "rlm" in loaded
    assert loaded & (HEAVY | {"asyncio", "msgspec"}) == set()


def test_the_main_class_loads_no_provider_and_no_terminal() -> None:
    loaded = loaded_by("from rlm import RLM")
    assert "msgspec" in loaded
    assert loaded & HEAVY == set()


def test_help_loads_no_provider() -> None:
    loaded = loaded_by(HELP)
    assert "typer" in loaded
    assert loaded & NEVER_FOR_HELP == set()
