"""Starts a worker, or another process of ours: a script in an interpreter that knows only the standard library and is
told where packages are.

A host may have more on its path, such as the folder of its script or the current one. Cells may write modules there,
and a worker, which no sandbox confines, must not run them. This module must not be imported.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType


def main() -> None:
    """Run `main` of a module of this package; arguments after its own two: its name, the interpreter's prefix, this
    package, the folders of others."""
    module, prefix, package, *folders = sys.argv[3:]
    sys.prefix = sys.exec_prefix = prefix  # a virtual environment's, by which Ruff is found
    sys.path += folders
    found = ModuleType("rlm")
    found.__path__ = [package]
    sys.modules[found.__name__] = found
    import_module(module).main()


if __name__ == "__main__":
    main()
