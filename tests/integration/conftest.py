"""What integration tests make once a session."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.required import require


@pytest.fixture(scope="session")
def pyodide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pyodide's files away from the user's cache; for tests to read, and to link to."""
    from rlm.repl.wasm import pyodide_files
    from tests.support.wasm import cache

    require("wasm")  # which fetches them where they aren't there yet
    return Path(shutil.copytree(pyodide_files.place(cache(os.environ)), tmp_path_factory.mktemp("wasm") / "pyodide"))
