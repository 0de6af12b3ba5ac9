"""Extra packages for WASM sandboxes, as wheels on this machine: pure Python, or compiled for Pyodide's platform.

A sandbox fetches nothing and resolves no dependency: what a package needs is named beside it. `add` does both before.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError
from rlm.core.extras import install_command
from rlm.core.plain import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.repl.wasm.pyodide_files import Pyodide

_SOURCES = (".tar.gz", ".zip", ".tgz")
_SAID_CHARS = 300
_WHEEL = re.compile(
    r"^(?P<name>[^-]+)-(?P<version>[^-]+)(-\d[^-]*)?-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel, as its file name describes it."""

    path: Path
    name: str
    """The name of the project, normalised."""
    pythons: frozenset[str]
    abis: frozenset[str]
    platforms: frozenset[str]


def find(packages: Iterable[str], folder: Path | None, pyodide: Pyodide) -> tuple[Path, ...]:
    """The wheels of `packages`: files, or names of which `folder` has a wheel that fits. Raises:
    ConfigError: no wheel fits, or one is damaged; says which, and what would fit.
    """
    return tuple(_checked(_find(package, folder, pyodide)) for package in packages)


def add(packages: Iterable[str], folder: Path, pyodide: Pyodide) -> tuple[str, ...]:
    """Put wheels into the folder: files, copied; sources, built; or packages by name with all that they need, which pip
    fetches. Building runs the code of the sources, here.

    Returns the names of what is there now for `wasm.packages`. Raises:
        ConfigError: a file doesn't fit, or pip finds no wheels that do; says how one is built.
    """
    with tempfile.TemporaryDirectory(prefix="rlm-wheels-") as work:
        for package in packages:
            if package.endswith(".whl"):
                given = _checked(_given(Path(package).expanduser(), pyodide))
                shutil.copy(given, Path(work, given.name))
            elif (source := Path(package).expanduser()).is_dir() or package.endswith(_SOURCES):
                _build(source.absolute(), Path(work), pyodide)
            else:
                _fetch(package, Path(work), pyodide)
        folder.mkdir(parents=True, exist_ok=True)
        wheels = [wheel for wheel in map(_parse, sorted(Path(work).glob("*.whl"))) if wheel is not None]
        for wheel in wheels:
            shutil.copy(wheel.path, folder / wheel.path.name)
    return tuple(dict.fromkeys(wheel.name for wheel in wheels))


def _fetch(package: str, folder: Path, pyodide: Pyodide) -> None:
    version = ".".join(pyodide.python.split(".")[:2])
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--abi", _tag(pyodide), "--python-version", version]
    command += ["--platform", pyodide.platform, "--dest", str(folder), "--", package]
    done = subprocess.run(  # noqa: S603 - a list, and the package, which the user names, can be no option
        command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise ConfigError(
            f"{package}: {reason}\n"
            "name its source folder or archive, and a wheel is built of that: rlm wasm add ./FOLDER; or take the wheel "
            "of Pyodide's distribution, and name the file: rlm wasm add dist/NAME.whl"
        )


def _build(source: Path, folder: Path, pyodide: Pyodide) -> None:
    """Build a wheel of sources: by pip where they are of pure Python, else by pyodide-build."""
    if not source.exists():
        raise ConfigError(f"{source} does not exist")
    with tempfile.TemporaryDirectory(prefix="rlm-wheels-") as work:
        wheels = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        failed = _failure_of([*wheels, "--wheel-dir", work, "--", str(source)])
        built = [
            wheel for wheel in map(_parse, Path(work).glob("*.whl")) if wheel is not None and _fits(wheel, pyodide)
        ]
        if failed or not built:
            built = _cross_built(source, Path(work, "pyodide"), pyodide, failed or "it has parts to be compiled")
        for wheel in built:
            shutil.copy(wheel.path, folder / wheel.path.name)


def _cross_built(source: Path, folder: Path, pyodide: Pyodide, why: str) -> list[Wheel]:
    program = shutil.which("pyodide", path=f"{os.environ.get('PATH', '')}{os.pathsep}{Path(sys.executable).parent}")
    if program is None:
        raise ConfigError(
            f"{source.name}: pip alone builds no wheel for Pyodide of it ({why})\n{install_command('wasm-build')}; "
            "it needs Emscripten, of the version that its documentation names"
        )
    failed = _failure_of([program, "build", str(source), "--outdir", str(folder)])
    wheels = [wheel for wheel in map(_parse, folder.glob("*.whl")) if wheel is not None]
    fitting = [wheel for wheel in wheels if _fits(wheel, pyodide)]
    if not fitting:
        made = failed or f"it made {', '.join(wheel.path.name for wheel in wheels) or 'no wheel'}"
        raise ConfigError(f"{source.name}: pyodide build failed: {made}\n{_wanted(pyodide)}")
    return fitting


def _failure_of(command: list[str]) -> str:
    """The last line of what a program says that fails; empty where it succeeds."""
    done = subprocess.run(  # noqa: S603 - a list, of which the user names a path
        command, check=False, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
    )
    lines = f"{done.stdout}\n{done.stderr}".strip().splitlines()
    return (one_line(lines[-1], _SAID_CHARS) if lines else "it said nothing") if done.returncode else ""


def _find(package: str, folder: Path | None, pyodide: Pyodide) -> Path:
    if package.endswith(".whl"):
        return _given(Path(package).expanduser(), pyodide)
    if folder is None:
        raise ConfigError(
            f"wasm.packages: {package!r} is not a .whl file, and wasm.wheels names no folder to find it in"
        )
    wheels = [wheel for wheel in map(_parse, sorted(folder.glob("*.whl"))) if wheel and wheel.name == _plain(package)]
    fitting = [wheel.path for wheel in wheels if _fits(wheel, pyodide)]
    if fitting:
        return fitting[-1]
    others = ", ".join(wheel.path.name for wheel in wheels) or "none"
    raise ConfigError(f"wasm.packages: {folder} has no wheel of {package} that fits: {others}\n{_wanted(pyodide)}")


def _given(path: Path, pyodide: Pyodide) -> Path:
    wheel = _parse(path)
    if wheel is None:
        raise ConfigError(f"wasm.packages: {path.name} is not named as a wheel is")
    if not _fits(wheel, pyodide):
        raise ConfigError(f"wasm.packages: {path.name} is for another platform or Python\n{_wanted(pyodide)}")
    return path


def _checked(path: Path) -> Path:
    try:
        with zipfile.ZipFile(path) as archive:
            archive.namelist()
    except (OSError, zipfile.BadZipFile) as e:
        raise ConfigError(f"wasm.packages: {path} cannot be read: {e}") from e
    return path.resolve()


def _parse(path: Path) -> Wheel | None:
    found = _WHEEL.match(path.name)
    if found is None:
        return None
    tags = {kind: frozenset(found[kind].split(".")) for kind in ("python", "abi", "platform")}
    return Wheel(
        path=path,
        name=_plain(found["name"]),
        pythons=tags["python"],
        abis=tags["abi"],
        platforms=tags["platform"],
    )


def _fits(wheel: Wheel, pyodide: Pyodide) -> bool:
    if "any" in wheel.platforms:
        return "none" in wheel.abis and bool(wheel.pythons & {"py3", _tag(pyodide), _tag(pyodide).replace("cp", "py")})
    return pyodide.platform in wheel.platforms and bool(wheel.abis & {_tag(pyodide), "abi3", "none"})


def _tag(pyodide: Pyodide) -> str:
    """The tag of its Python, such as cp314."""
    return "cp" + "".join(pyodide.python.split(".")[:2])


def _wanted(pyodide: Pyodide) -> str:
    return f"wanted: a pure wheel (py3-none-any), or one for {_tag(pyodide)} and {pyodide.platform}"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
