"""Real programs from npm for the tests: Claude Code, the command line of the MCP Inspector, axe, which checks pages,
and the library of editors for the Agent Client Protocol.

`python -m tests.support.node_tools` puts them, pinned and checked against the hashes of the lock file, into this user's
cache; nothing is installed anywhere else, no script of a package is run, and no test installs anything by itself.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCKED = Path(__file__).with_name("node")
PROGRAMS = {
    "claude": "@anthropic-ai/claude-code-*/claude",
    "inspector": "@modelcontextprotocol/inspector-cli/build/index.js",
    "axe": "axe-core/axe.min.js",
    "acp": "@agentclientprotocol/sdk/dist/v1/stable/acp.js",
}
"""Where each is, below `node_modules`; the inspector is for `node`, axe for a page, and acp a library."""


def folder() -> Path:
    """Where this lock file's packages belong."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    lock = hashlib.sha256((LOCKED / "package-lock.json").read_bytes()).hexdigest()
    return cache / "rlm" / "test-tools" / lock[:16]


def find(program: str) -> Path | None:
    """The program, of the lock file's version; else any on the PATH; None: there is none."""
    locked = next((folder() / "node_modules").glob(PROGRAMS[program]), None)
    if locked is not None:
        return locked
    elsewhere = shutil.which(program)
    return None if elsewhere is None else Path(elsewhere)


def put_on_path(program: str) -> bool:
    """Have `program` found by its name, by this process and those it starts; False if it isn't there."""
    found = find(program)
    if found is not None and shutil.which(program) != str(found):
        os.environ["PATH"] = f"{found.parent}{os.pathsep}{os.environ['PATH']}"
    return found is not None


def install() -> Path:
    """Install what the lock file says, unless it is there; returns where."""
    target = folder()
    if target.exists():
        return target
    part = target.with_name(f"{target.name}.{os.getpid()}")
    part.mkdir(parents=True)
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(LOCKED / name, part)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=part, check=True, stdout=sys.stderr)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


if __name__ == "__main__":
    print(install())
