"""What guests are likely to import, imported once in what they all start from: a zygote, or a memory snapshot."""

from __future__ import annotations

import importlib

LIBRARY = (
    "abc", "argparse", "array", "ast", "asyncio", "base64", "bisect", "calendar", "cmath", "collections.abc",
    "concurrent.futures.thread", "contextlib", "copy", "csv", "dataclasses", "datetime", "decimal", "difflib", "enum",
    "fnmatch", "fractions", "functools", "glob", "graphlib", "hashlib", "heapq", "html.parser", "io", "itertools",
    "json", "locale", "logging", "math", "numbers", "operator", "pathlib", "pprint", "queue", "random", "re",
    "secrets", "shlex", "statistics", "string", "struct", "tempfile", "textwrap", "threading", "time", "timeit",
    "tomllib", "traceback", "types", "typing", "unicodedata", "urllib.parse", "uuid", "xml.etree.ElementTree", "zlib",
    "zoneinfo",
)  # fmt: skip


def import_library() -> None:
    """Import those of the modules that this Python has."""
    for name in LIBRARY:
        try:
            importlib.import_module(name)
        except ImportError:  # a Python built without it
            continue
