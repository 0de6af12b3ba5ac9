"""Begins a worker, as a script in an interpreter that knows the standard library alone: it is told where packages are.

A host may have more on its path, such as the folder of its script or the current one. Cells may write modules there,
which a worker, confined by no sandbox, must not run. Must not be imported.
"""

from __future__ import annotations

import sys
from types import ModuleType


def main() -> None:
    """Serve; the arguments after those of `worker_main`: the interpreter's prefix, this package, folders of others."""
    prefix, package, *folders = sys.argv[3:]
    sys.prefix = sys.exec_prefix = prefix  # of a virtual environment, in which Ruff is found by it
    sys.path += folders
    found = ModuleType("rlm")
    found.__path__ = [package]
    sys.modules[found.__name__] = found
    from rlm.processes.worker_main import main as serve

    serve()


if __name__ == "__main__":
    main()
