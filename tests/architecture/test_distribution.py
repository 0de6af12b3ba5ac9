"""What a user installs: the wheel holds everything the package reads, and works outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import rlm
from tests.architecture.sources import ROOT, SRC

NEEDED = (".ci/run", "Makefile", "README.md", "docs/wire.md", "pyproject.toml", "requirements/dev.txt")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--directory", folder)
    return folder


def names_in(dist: Path) -> set[str]:
    return set(zipfile.ZipFile(next(dist.glob("*.whl"))).namelist())


def test_the_wheel_holds_the_types_mark_the_prompts_and_the_licence(dist: Path) -> None:
    names = names_in(dist)
    assert "rlm/py.typed" in names
    assert {f"rlm/core/prompts/{path.name}" for path in (SRC / "rlm/core/prompts").glob("*.md")} - names == set()
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_holds_what_the_sandbox_wasm_reads(dist: Path) -> None:
    scripts = {f"rlm/repl/guest/deno/{path.name}" for path in (SRC / "rlm/repl/guest/deno").glob("*.mjs")}
    assert {*scripts, "rlm/repl/wasm/pyodide.lock", "rlm/repl/docker/seccomp.json"} - names_in(dist) == set()
    assert "rlm/repl/guest/deno/worker.mjs" in scripts


def test_the_wheel_holds_the_style_of_a_page(dist: Path) -> None:
    assert "rlm/cli/run_page.css" in names_in(dist)


def test_the_wheel_holds_the_plugin(dist: Path) -> None:
    plugin = SRC / "rlm/mcp/plugin"
    files = {str(path.relative_to(SRC)) for path in plugin.rglob("*") if path.is_file()}
    assert "rlm/mcp/plugin/.claude-plugin/plugin.json" in files
    assert files - names_in(dist) == set()


def test_the_wheel_holds_every_module_and_nothing_else(dist: Path) -> None:
    modules = {name for name in names_in(dist) if name.endswith(".py")}
    package = {str(path.relative_to(SRC)) for path in SRC.rglob("*.py")}
    pages = {f"rlm/_visualizer/{path.relative_to(ROOT / 'visualizer')}" for path in (ROOT / "visualizer").rglob("*.py")}
    assert modules == package | pages


def test_the_wheel_holds_what_the_pages_are_made_of(dist: Path) -> None:
    assets = {f"rlm/_visualizer/rlm_visualizer/assets/{name}" for name in ("markup.js", "page.css", "icon.svg")}
    assert {*assets, "rlm/_visualizer/.streamlit/config.toml"} - names_in(dist) == set()


def test_the_sdist_holds_what_the_tests_need(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(NEEDED) - names == set()


def test_the_wheel_works_in_a_fresh_environment(dist: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path)
    python, site = tmp_path / "bin/python", next(tmp_path.glob("lib/python*/site-packages"))
    # The dependencies come from here; a path file does not bring the editable project along.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    wheel = next(dist.glob("*.whl"))
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps", wheel)
    assert run(python, "-c", "import rlm; print(rlm.__file__)", cwd=tmp_path).startswith(str(tmp_path))
    assert rlm.__version__ in run(tmp_path / "bin/rlm", "--version", cwd=tmp_path)
    pages = run(python, "-c", "from rlm.cli.commands.visualize import find_app; print(find_app())", cwd=tmp_path)
    assert Path(pages.strip()) == (site / "rlm/_visualizer/app.py").resolve()
