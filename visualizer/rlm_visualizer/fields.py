"""The input fields of a page: each shows what the address says, and writes what the user enters into the address.

All state is in the address, so that going back, sharing and reloading lead to the same page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from rlm_visualizer.mounting import go, here

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streamlit.delta_generator import DeltaGenerator


def text_field(column: DeltaGenerator, name: str, label: str, placeholder: str, icon: str | None = None) -> None:
    """A field for one line of text, which is a part of the address."""
    key = _mirror(name, getattr(here(), name))
    column.text_input(
        label, key=key, placeholder=placeholder, icon=icon, label_visibility="collapsed", on_change=_write(name, key)
    )


def choice_field(column: DeltaGenerator, name: str, label: str, choices: Mapping[Any, str]) -> None:
    """A field for one of several values; a value in the address that isn't one of them becomes a choice too."""
    value = getattr(here(), name)
    options = list(choices) if value in choices else [*choices, value]
    key = _mirror(name, value)
    column.selectbox(
        label,
        options,
        key=key,
        format_func=lambda each: choices.get(each, str(each)),
        label_visibility="collapsed",
        on_change=_write(name, key),
    )


def several_field(column: DeltaGenerator, name: str, label: str, choices: Sequence[str], placeholder: str) -> None:
    """A field for any of several words, which are a part of the address."""
    key = _mirror(name, list(getattr(here(), name)))
    column.multiselect(
        label, choices, key=key, placeholder=placeholder, label_visibility="collapsed", on_change=_write(name, key)
    )


def _mirror(name: str, value: Any) -> str:
    key = f"field-{name}"
    if st.session_state.get(key) != value:
        st.session_state[key] = value
    return key


def _write(name: str, key: str) -> Callable[[], None]:
    def write() -> None:
        value = st.session_state[key]
        go(here().to(**{name: tuple(value) if isinstance(value, list) else value}))

    return write
