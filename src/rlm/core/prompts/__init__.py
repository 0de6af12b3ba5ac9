"""Renders the texts that models are given, from the `.md` files beside this module."""

from __future__ import annotations

from functools import cache
from importlib import resources
from string import Template


@cache
def _template(name: str) -> Template:
    return Template(resources.files(__package__).joinpath(f"{name}.md").read_text(encoding="utf-8"))


def render(name: str, **values: str) -> str:
    """The text `name` with every placeholder filled.

    Raises:
        KeyError: a placeholder was given no value.
    """
    return _template(name).substitute(values).strip()
