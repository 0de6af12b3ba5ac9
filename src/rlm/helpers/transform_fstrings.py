"""Finds names in the expressions of f-strings, where the positions of Python's own parser are not exact.

The one use of libcst, which is imported only when a name stands in an f-string.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError

if TYPE_CHECKING:
    import libcst


def name_positions(segment: str, name: str) -> list[int]:
    """The positions of an identifier in the expressions of an f-string (or several, one after the other), in order.

    Returns none where the text can't be taken apart. Raises:
        ConfigError: libcst is not installed.
    """
    try:
        import libcst as cst
        from libcst.metadata import MetadataWrapper, PositionProvider
    except ImportError as error:
        raise ConfigError("a name in an f-string needs libcst: pip install 'rlm-runtime[code]'") from error
    try:
        module = MetadataWrapper(cst.parse_module(f"({segment}\n)"), unsafe_skip_copy=True)
    except cst.ParserSyntaxError:
        return []
    positions = module.resolve(PositionProvider)
    starts = _line_starts(segment)
    nodes: list[libcst.CSTNode] = [module.module]
    found: list[int] = []
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if isinstance(node, cst.Name) and node.value == name:
            begin = positions[node].start
            found.append(starts[begin.line - 1] + begin.column - (begin.line == 1))
    return sorted(found)


def _line_starts(text: str) -> list[int]:
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    return starts
