"""Writes the text of a docstring in the styles of Google, NumPy and Sphinx."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Style: TypeAlias = Literal["google", "numpy", "sphinx"]
_NOTHING = ("None", "NoReturn", "Never", "typing.NoReturn", "typing.Never")
_BORDER = re.compile(r"(?<=[^\W_])(?=[A-Z][a-z])|(?<=[^\W_A-Z])(?=[A-Z])")
"""Matches where a word begins in `getUserData`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a function."""

    name: str
    """The name with its stars."""
    type: str
    """The annotation; empty without one."""
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the code of a function tells for its docstring."""

    name: str
    parameters: tuple[Parameter, ...]
    returns: str
    gives_value: bool
    yields: bool
    raises: tuple[str, ...]

    @property
    def result(self) -> str:
        """`Returns`, `Yields`, or empty."""
        if self.yields:
            return "Yields"
        return "Returns" if (self.gives_value or self.returns) and self.returns not in _NOTHING else ""


def docstring(described: Described, style: Style, indent: str) -> str:
    """The docstring, quoted and indented, without a newline at its end."""
    summary = "Initialize the object." if described.name == "__init__" else _sentence(described.name)
    sections = _STYLES[style](described)
    if not sections:
        return f'{indent}"""{summary}"""'
    lines = [f'"""{summary}', "", *sections, '"""']
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def _google(described: Described) -> list[str]:
    sections: list[list[str]] = []
    if described.parameters:
        sections.append(["Args:", *(f"    {_google_name(each)}: {_about(each)}" for each in described.parameters)])
    if described.result:
        kind = f"{described.returns}: " if described.returns else ""
        sections.append([f"{described.result}:", f"    {kind}The result."])
    if described.raises:
        sections.append(["Raises:", *(f"    {name}: {_when(name)}" for name in described.raises)])
    return _joined(sections)


def _numpy(described: Described) -> list[str]:
    sections: list[list[str]] = []
    if described.parameters:
        lines = [line for each in described.parameters for line in (_numpy_name(each), f"    {_about(each)}")]
        sections.append(["Parameters", "-" * 10, *lines])
    if described.result:
        title = described.result
        sections.append([title, "-" * len(title), described.returns or "object", "    The result."])
    if described.raises:
        lines = [line for name in described.raises for line in (name, f"    {_when(name)}")]
        sections.append(["Raises", "-" * 6, *lines])
    return _joined(sections)


def _sphinx(described: Described) -> list[str]:
    lines: list[str] = []
    for each in described.parameters:
        name = each.name.lstrip("*")
        lines.append(f":param {name}: {_about(each)}")
        lines += [f":type {name}: {each.type}"] if each.type else []
    if described.result:
        lines.append(f":{described.result.lower()}: The result.")
        lines += [f":rtype: {described.returns}"] if described.returns else []
    return lines + [f":raises {name}: {_when(name)}" for name in described.raises]


_STYLES: dict[str, Callable[[Described], list[str]]] = {"google": _google, "numpy": _numpy, "sphinx": _sphinx}


def _joined(sections: list[list[str]]) -> list[str]:
    lines: list[str] = []
    for section in sections:
        lines += [*([""] if lines else []), *section]
    return lines


def _kind(parameter: Parameter) -> str:
    """The type, with `optional` if it is; that word alone would be taken for a type."""
    return f"{parameter.type}, optional" if parameter.type and parameter.optional else parameter.type


def _numpy_name(parameter: Parameter) -> str:
    kind = _kind(parameter)
    return f"{parameter.name} : {kind}" if kind else parameter.name


def _google_name(parameter: Parameter) -> str:
    kind = _kind(parameter)
    return f"{parameter.name} ({kind})" if kind else parameter.name


def _about(parameter: Parameter) -> str:
    if parameter.name.startswith("**"):
        return "Further keyword arguments."
    if parameter.name.startswith("*"):
        return "Further arguments."
    return f"The {_words(parameter.name)}."


def _when(error: str) -> str:
    words = _words(error.rpartition(".")[2])
    return f"On {'an' if words[:1].lower() in 'aeiou' else 'a'} {words}."


def _sentence(name: str) -> str:
    words = _words(name)
    return f"{words[:1].upper()}{words[1:]}."


def _words(name: str) -> str:
    """A name as words: `getUserData` and `get_user_data` are both `get user data`."""
    found = [word for word in _BORDER.sub("_", name).split("_") if word]
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in found) or name
