"""The optional packages: how a message says to install one.

A message names the packages themselves and the interpreter that runs, so that what a person copies brings what is
missing to where it is missing, whatever the index has under this distribution's own name.
"""

from __future__ import annotations

import re
import shlex
import sys
from importlib import metadata

_DISTRIBUTION = "rlm-runtime"
_EXTRA = re.compile(r"""(?P<requirement>[^;]+);\s*extra\s*==\s*["'](?P<extra>[^"']+)["']""")


def install_command(extra: str) -> str:
    """The shell command that installs what an extra stands for, by this distribution's own metadata; where Python finds
    none, a sentence that names the extra.
    """
    try:
        declared = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        declared = []
    found = [match for each in declared if (match := _EXTRA.fullmatch(each))]
    requirements = [match["requirement"].strip() for match in found if match["extra"] == extra]
    if not requirements:
        return f"install this package with its extra {extra!r}"
    return shlex.join([sys.executable, "-m", "pip", "install", *requirements])
