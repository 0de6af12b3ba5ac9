"""Starts a worker: a script in an interpreter that knows only the standard library and is told where packages are.

A host may have more on its path, such as the folder of its script or the current one. Cells may write modules there,
and a worker, which no sandbox confines, must not run them. This module must not be imported.
"""

from __future__ import annotations

import sys
from types import ModuleType


def main() -> None:
    """Run `worker_main`; arguments after its own: the interpreter's prefix, this package, the folders of others."""
    prefix, package, *folders = sys.argv[3:]
    sys.prefix = sys.exec_prefix = prefix  # a virtual environment's, by which Ruff is found
    sys.path += folders
    found = ModuleType("rlm")
    found.__path__ = [package]
    sys.modules[found.__name__] = found
    from rlm.processes.worker_main import main as serve

    serve()


if __name__ == "__main__":
    main()
