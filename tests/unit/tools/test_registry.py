from __future__ import annotations

import pytest

from rlm.core.exceptions import ConfigError, ToolNotFoundError
from rlm.tools.decorator import tool
from rlm.tools.registry import ToolRegistry


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"sun in {city}"


@tool(name="whether")
def other() -> None:
    """Decide."""


def test_tools_are_kept_by_name_in_order():
    registry = ToolRegistry([weather, other])
    assert registry.get("weather") is weather
    assert [spec.name for spec in registry.specs()] == ["weather", "whether"]
    assert ("weather" in registry, "gone" in registry, len(registry)) == (True, False, 2)


def test_an_unknown_name_brings_close_ones():
    with pytest.raises(ToolNotFoundError, match=r"Did you mean: whether, weather\?"):
        ToolRegistry([weather, other]).get("wether")
    with pytest.raises(ToolNotFoundError, match="execute_code"):
        ToolRegistry().get("python")


def test_a_name_can_be_taken_once():
    with pytest.raises(ConfigError, match="two tools named 'weather'"):
        ToolRegistry([weather, weather])


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a b", "ü", "x" * 65, "a\n", "execute_code", "FINAL", "llm_query"])
def test_names_that_cannot_be_used_are_refused(name):
    named = tool(name=name or " ", description="Do it.")(lambda: None)
    with pytest.raises(ConfigError, match="cannot name a tool"):
        ToolRegistry([named])
