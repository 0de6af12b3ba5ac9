"""Packages in WASM sandboxes: a wheel of pure Python, and one compiled for Pyodide as PyPI has it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rlm.core.exceptions import ConfigError
from rlm.testing.openers import shown
from tests.integration.cli import User
from tests.support.required import needs
from tests.support.wasm import opened

pytestmark = needs("wasm")

COMPILED = "msgspec==0.22.0"
PLATFORM = "pyemscripten_2026_0_wasm32"


def pure_wheel(folder: Path) -> Path:
    path = folder / "greeting-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("greeting/__init__.py", "from greeting.words import hello")
        archive.writestr("greeting/words.py", "import importlib.metadata\n\ndef hello(name): return f'hello {name}'")
        archive.writestr("greeting-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        archive.writestr(
            "greeting-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("greeting-1.0.dist-info/RECORD", "")
    return path


async def test_a_pure_wheel_is_there_to_import(tmp_path: Path) -> None:
    code = "import greeting\nfrom importlib.metadata import version\ngreeting.hello('you'), version('greeting')"
    async with opened(packages=(str(pure_wheel(tmp_path)),)) as repl:
        assert shown(await repl.execute(code)) == "('hello you', '1.0')"
    async with opened() as repl:
        assert (await repl.execute("import greeting")).status == "error"


def test_a_wheel_is_added_to_what_every_sandbox_of_the_user_gets(user: User, pyodide: Path) -> None:
    environ = {"RLM_WASM_PYODIDE_DIR": str(pyodide)}
    wheel = pure_wheel(user.cwd)
    added = user.process("wasm", "add", wheel.name, **environ)
    assert (added.returncode, added.stdout) == (0, ""), added.stderr
    assert "greeting" in added.stderr
    assert user.rlm("config", "get", "wasm.packages", **environ).stdout == '["greeting"]\n'
    kept = Path(user.rlm("config", "get", "wasm.wheels", **environ).stdout.strip())
    assert [path.name for path in kept.iterdir()] == [wheel.name]
    odd = wheel.rename(user.cwd / "greeting-1.0-cp314-cp314-manylinux_2_28_x86_64.whl")
    refused = user.rlm("wasm", "add", odd.name, **environ)
    assert (refused.returncode, PLATFORM in refused.stderr) == (2, True)


PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "pure-thing"
version = "1.0"
"""
BUILDS = """#!{python}
import shutil, sys
print("builds", sys.argv[1:3], file=sys.stderr)
{act}
"""


def test_a_wheel_is_built_of_sources_by_pip_or_by_pyodide_build(user: User, pyodide: Path, tmp_path: Path) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    environ = {"RLM_WASM_PYODIDE_DIR": str(pyodide), "PIP_NO_BUILD_ISOLATION": "0", "PATH": f"{path}:/usr/bin:/bin"}
    user.write("pure/pyproject.toml", PROJECT)
    user.write("pure/pure_thing.py", "x = 1\n")
    added = user.process("wasm", "add", "./pure", **environ)
    assert added.returncode == 0, added.stderr
    assert user.rlm("config", "get", "wasm.packages", **environ).stdout == '["pure-thing"]\n'
    user.write("compiled/pyproject.toml", PROJECT.replace("hatchling.build", "no.such.backend"))
    odd = user.process("wasm", "add", "./compiled", "./absent.tar.gz", **environ)
    assert (odd.returncode, "pyodide build failed" in odd.stderr or "wasm-build" in odd.stderr) == (2, True), odd.stderr
    program = path / "pyodide"
    made = f"compiled_thing-1.0-cp314-cp314-{PLATFORM}.whl"
    act = f"import os; os.mkdir(sys.argv[4]); shutil.copy({str(pure_wheel(tmp_path))!r}, sys.argv[4] + '/{made}')"
    program.write_text(BUILDS.format(python=sys.executable, act=act))
    program.chmod(0o755)
    added = user.process("wasm", "add", "./compiled", **environ)
    assert (added.returncode, "compiled-thing" in added.stderr) == (0, True), added.stderr


async def test_a_compiled_wheel_is_found_by_name_and_works(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", tmp_path]
    wanted = ["--platform", PLATFORM, "--python-version", "3.14", "--implementation", "cp", "--abi", "cp314", COMPILED]
    subprocess.run([*pip, *wanted], check=True)
    code = "import msgspec\nmsgspec.json.decode(msgspec.json.encode({'a': [1, 2.5]})), msgspec.__version__"
    async with opened(packages=("msgspec",), wheels=str(tmp_path)) as repl:
        assert shown(await repl.execute(code)) == "({'a': [1, 2.5]}, '0.22.0')"


async def test_a_wheel_of_another_platform_opens_nothing(tmp_path: Path) -> None:
    path = pure_wheel(tmp_path).rename(tmp_path / "greeting-1.0-cp314-cp314-manylinux_2_28_x86_64.whl")
    with pytest.raises(ConfigError, match=PLATFORM):
        async with opened(packages=(str(path),)):
            pass
