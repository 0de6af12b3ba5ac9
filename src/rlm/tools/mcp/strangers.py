"""What a stranger says, cut down to what may be shown: a server's name, its errors, its results."""

from __future__ import annotations


def cleaned(said: str, most_chars: int) -> str:
    """A stranger's text on one line, without control characters."""
    line = " ".join("".join(char if char.isprintable() else " " for char in said[: most_chars * 4]).split())
    return line if len(line) <= most_chars else line[: most_chars - 1] + "…"


def shortened(said: str, most_chars: int) -> str:
    """`said` without its middle where it is too long, and a mark that says so."""
    if len(said) <= most_chars:
        return said
    half = most_chars // 2
    return f"{said[:half]}\n[{len(said) - 2 * half:,} characters left out]\n{said[-half:]}"
