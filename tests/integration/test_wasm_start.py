"""What a WASM sandbox needs before it starts: Deno, Pyodide, a snapshot; missing, damaged or of another version."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rlm.core.config import WasmConfig
from rlm.core.contexts.context import Context, Part
from rlm.core.exceptions import REPLError, SandboxUnavailableError
from rlm.core.extras import install_command
from rlm.repl import spool_folders
from rlm.repl.wasm import deno_runtime, processes, pyodide_files, snapshots
from rlm.repl.wasm.launcher import WASM
from rlm.repl.wasm.pyodide_files import FILES, VERSION
from tests.support.required import needs
from tests.support.wasm import cache, home, linked, opened, rewrite, variables

pytestmark = needs("wasm")


async def refusal(environ: Mapping[str, str] | None = None, **settings: Any) -> str:
    """Why a sandbox does not start, with the environment variables `environ` alone if they are given."""
    sandbox = WASM.sandbox(WasmConfig(**settings))
    with pytest.raises(SandboxUnavailableError) as refused, variables(environ):
        await sandbox.start()
    await sandbox.aclose()
    assert refused.value.exit_code == 5
    return str(refused.value)


async def test_pyodide_that_cannot_be_fetched_names_the_way_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyodide_files, "_PAUSE_S", 0.0)
    reason = await refusal(environ=home(tmp_path))
    assert "cannot be fetched" in reason
    assert "wasm.pyodide_dir" in reason
    assert list(cache(home(tmp_path)).iterdir()) == []


async def test_deno_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(deno_runtime, "import_module", absent)
    assert install_command("wasm") in await refusal()
    (found,) = (await WASM.probe(WasmConfig())).layers
    assert not found.active
    assert install_command("wasm") in found.detail


@pytest.mark.parametrize("name", FILES)
async def test_a_folder_without_a_file_is_refused(name: str, pyodide: Path, tmp_path: Path) -> None:
    folder = linked(pyodide, tmp_path / "pyodide")
    (folder / name).unlink()
    reason = await refusal(pyodide_dir=str(folder))
    assert f"has no {name}" in reason


async def test_a_folder_with_a_damaged_file_is_refused(pyodide: Path, tmp_path: Path) -> None:
    library = linked(pyodide, folder := tmp_path / "pyodide") / "python_stdlib.zip"
    rewrite(library, b"spoilt" + library.read_bytes()[len(b"spoilt") :])
    assert "damaged: python_stdlib.zip" in await refusal(pyodide_dir=str(folder))


async def test_a_folder_of_another_version_is_refused(pyodide: Path, tmp_path: Path) -> None:
    script = linked(pyodide, folder := tmp_path / "pyodide") / "pyodide.mjs"
    rewrite(script, script.read_bytes().replace(VERSION.encode(), b"399.1.0"))
    reason = await refusal(pyodide_dir=str(folder))
    assert "holds Pyodide 399.1.0" in reason
    assert VERSION in reason


async def test_a_path_that_deno_cannot_take_is_refused(pyodide: Path, tmp_path: Path) -> None:
    folder = linked(pyodide, tmp_path / "a,b")
    assert "comma" in await refusal(pyodide_dir=str(folder), environ=home(tmp_path))


async def test_a_registry_that_is_not_reached_once_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one test that fetches from a registry."""
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    usual, answers = pyodide_files._complaints, ["error sending request"]

    async def failing_once(*asked: Any) -> str:
        return answers.pop() if answers else await usual(*asked)

    monkeypatch.setattr(pyodide_files, "_complaints", failing_once)
    monkeypatch.setattr(pyodide_files, "_PAUSE_S", 0.0)
    found = await pyodide_files.fetch(cache(environ), deno_runtime.find(), environ)
    assert (found.damaged, answers) == ((), [])


async def test_a_damaged_cache_is_replaced(pyodide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def installing(work: Path, *_: object) -> str:
        linked(pyodide, work / "node_modules" / "pyodide")
        return ""

    monkeypatch.setattr(pyodide_files, "_complaints", installing)
    environ, deno = home(tmp_path), deno_runtime.find()
    first, second = await asyncio.gather(*(pyodide_files.fetch(cache(environ), deno, environ) for _ in range(2)))
    assert first == second == pyodide_files.cached(cache(environ))
    rewrite(first.folder / "python_stdlib.zip", b"spoilt")
    assert pyodide_files.cached(cache(environ)) is None
    await pyodide_files.fetch(cache(environ), deno, environ)
    assert pyodide_files.cached(cache(environ)) == first


async def test_a_snapshot_of_another_version_is_not_taken(pyodide: Path) -> None:
    deno, found = deno_runtime.find(), pyodide_files.given(pyodide)
    other = deno_runtime.Deno(binary=deno.binary, version="0.0.0")
    assert snapshots.key(deno, found) != snapshots.key(other, found)


async def test_a_cache_that_others_can_write_to_is_not_trusted(tmp_path: Path) -> None:
    folder = cache(home(tmp_path))
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert "others can write to" in await refusal(environ=home(tmp_path))


async def test_who_builds_at_the_same_time_takes_nothing_away_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "work-gone"
    monkeypatch.setattr(Path, "glob", lambda *_: iter([gone]))
    assert pyodide_files.older(tmp_path, "work-*", 0.0) == []


async def test_a_start_that_succeeds_has_seen_a_process_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(_plan: object) -> None:
        raise REPLError("Python in WebAssembly does not start")

    monkeypatch.setattr(processes.WasmProcess, "start", failing)
    sandbox = WASM.sandbox(WasmConfig())
    with pytest.raises(REPLError, match="does not start"):
        await sandbox.start()
    await sandbox.aclose()


async def test_an_unwritable_cache_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    reason = await refusal(environ={**home(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "file")})
    assert "cannot be kept" in reason


async def test_a_context_beyond_32_bits_is_refused() -> None:
    with pytest.raises(REPLError, match="3.0 GB is too large"):
        async with opened(Context(kind="text", parts=(Part(name="", start=0, end=3_000_000_000),))):
            pass


async def test_a_context_that_cannot_be_loaded_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"kind": "value", "parts": [["", 0, 5]], "held": False}
    monkeypatch.setattr(spool_folders, "note", lambda _context: other)
    with pytest.raises(REPLError, match="the context cannot be loaded: WireError: not JSON"):
        async with opened("short"):
            pass
