"""The guest half as it travels to where nothing of ours is installed: its sources archived, and what unpacks them."""

from __future__ import annotations

import json
import zlib
from functools import cache
from importlib.resources import files

_BOOT = """\
import sys
if sys.version_info < (3, 11):
    sys.exit("Python %d.%d is too old; 3.11 or later is needed" % sys.version_info[:2])
import json, os, zlib
left, parts = int(sys.argv[1]), []
while left:
    parts.append(os.read(0, left) or os._exit(0))
    left -= len(parts[-1])
sources = json.loads(zlib.decompress(b"".join(parts)))
bundle = {"__name__": "rlm.repl.guest.bundle"}
exec(sources["rlm.repl.guest.bundle"], bundle)
bundle["install"](sources)
"""


def boot(start: str) -> str:
    """The only code that is not imported: it reads an archive from stdin, as many bytes as its first argument says, and
    goes on with `start`, which may import what was in it.
    """
    return f"{_BOOT}{start}\n"


@cache
def archive(packages: tuple[str, ...]) -> bytes:
    """The modules of these packages of the guest half, compressed."""
    parents = {".".join(name.split(".")[:depth]) for name in packages for depth in range(1, name.count(".") + 1)}
    sources = dict.fromkeys((*sorted(parents), *packages), "")
    for package in packages:
        modules = [
            each for each in files(package).iterdir() if each.name.endswith(".py") and each.name != "__init__.py"
        ]
        sources |= {f"{package}.{each.name.removesuffix('.py')}": each.read_text(encoding="utf-8") for each in modules}
    return zlib.compress(json.dumps(sources).encode(), 9)
