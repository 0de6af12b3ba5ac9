"""Which wheels a WASM sandbox takes, and what is said of the others."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from rlm.core.exceptions import ConfigError
from rlm.repl.wasm.pyodide_files import Pyodide
from rlm.repl.wasm.wheelhouse import find

PYODIDE = Pyodide(
    folder=Path("somewhere"),
    version="314.0.7",
    python="3.14.2",
    platform="pyemscripten_2026_0_wasm32",
    digest="",
    damaged=(),
)
COMPILED = "numpy-2.4.6-cp314-cp314-pyemscripten_2026_0_wasm32.whl"


def wheel(folder: Path, name: str) -> Path:
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("module.py", "")
    return folder / name


@pytest.mark.parametrize(
    "name",
    [
        "six-1.17.0-py2.py3-none-any.whl",
        "tabulate-0.10.0-py3-none-any.whl",
        "tabulate-0.10.0-1-py3-none-any.whl",
        "only-1.0-cp314-none-any.whl",
        "stable-1.0-cp311-abi3-pyemscripten_2026_0_wasm32.whl",
        COMPILED,
    ],
)
def test_a_wheel_that_fits_is_taken(tmp_path: Path, name: str) -> None:
    path = wheel(tmp_path, name)
    assert find([str(path)], None, PYODIDE) == (path.resolve(),)


@pytest.mark.parametrize(
    "name",
    [
        "numpy-2.4.6-cp314-cp314-manylinux_2_28_x86_64.whl",
        "numpy-2.4.6-cp313-cp313-pyemscripten_2026_0_wasm32.whl",
        "numpy-2.4.6-cp314-cp314-pyemscripten_2025_0_wasm32.whl",
        "old-1.0-py2-none-any.whl",
    ],
)
def test_a_wheel_of_another_platform_is_refused_with_what_is_wanted(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="another platform or Python\nwanted: .*cp314 and pyemscripten_2026_0_wasm32"):
        find([str(wheel(tmp_path, name))], None, PYODIDE)


def test_a_name_finds_the_wheel_that_fits(tmp_path: Path) -> None:
    wheel(tmp_path, "numpy-2.4.6-cp314-cp314-manylinux_2_28_x86_64.whl")
    path = wheel(tmp_path, COMPILED)
    wheel(tmp_path, "numpy_extra-1.0-py3-none-any.whl")
    assert find(["NumPy"], tmp_path, PYODIDE) == (path.resolve(),)
    extra = find(["numpy.extra"], tmp_path, PYODIDE)
    assert [found.name for found in extra] == ["numpy_extra-1.0-py3-none-any.whl"]


def test_a_name_without_a_wheel_that_fits_says_what_there_is(tmp_path: Path) -> None:
    wheel(tmp_path, "numpy-2.4.6-cp314-cp314-manylinux_2_28_x86_64.whl")
    with pytest.raises(ConfigError, match="numpy that fits: numpy-2.4.6-cp314-cp314-manylinux"):
        find(["numpy"], tmp_path, PYODIDE)
    with pytest.raises(ConfigError, match="pandas that fits: none"):
        find(["pandas"], tmp_path, PYODIDE)


def test_a_name_needs_a_folder() -> None:
    with pytest.raises(ConfigError, match=r"wasm\.wheels"):
        find(["numpy"], None, PYODIDE)


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "six-1.17.0-py3-none-any.whl").write_bytes(b"no zip")
    with pytest.raises(ConfigError, match="cannot be read"):
        find([str(tmp_path / "six-1.17.0-py3-none-any.whl")], None, PYODIDE)
    with pytest.raises(ConfigError, match="cannot be read"):
        find([str(tmp_path / "gone-1.0-py3-none-any.whl")], None, PYODIDE)
    with pytest.raises(ConfigError, match="not named"):
        find([str(tmp_path / "odd.whl")], None, PYODIDE)
