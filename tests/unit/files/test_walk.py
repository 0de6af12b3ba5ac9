from __future__ import annotations

import pytest

from rlm.files.walk import matches


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("a.py", "*.py", True),
        ("src/a.py", "*.py", True),
        ("src/a.py", "./*.py", False),
        ("src/a.py", "src/*.py", True),
        ("src/b/a.py", "src/*.py", False),
        ("src/b/a.py", "src/**/*.py", True),
        ("src/a.py", "src/**/*.py", True),
        ("src/a.py", "**/*", True),
        ("a.py", "**/*", True),
        ("src/a.ts", "**/*.{py,ts}", True),
        ("src/a.js", "**/*.{py,ts}", False),
        ("src/a.js", "{src,lib}/{a,b}.js", True),
        ("src/a{b", "src/a{b", True),
        ("A.PY", "*.py", False),
    ],
)
def test_globs(path, pattern, fits):
    assert matches(path, pattern) is fits
