"""Packages with plug-ins, as an installer leaves them on the module search path."""

from __future__ import annotations

from pathlib import Path

import pytest


def installed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, package: str, entries: dict[str, dict[str, str]], source: str = ""
) -> None:
    """Put a package with these entry points, by group and name, and one module of its name into `folder`."""
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"[{group}]\n" + "".join(f"{name} = {to}\n" for name, to in row.items()) for group, row in entries.items()]
    (about / "entry_points.txt").write_text("".join(lines), encoding="utf-8")
    (folder / f"{package}.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
