"""What a caller's model reads where a call can't be made as it was."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.server.mcpserver.exceptions import ToolError

from rlm.core.config import Config
from rlm.mcp.server.app import App


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("execute_python", {"code": 5}, "code has to be a string, and is a number"),
        ("execute_python", {}, "the argument code is missing"),
        ("execute_python", {"code": "1", "timeout": "soon"}, "timeout has to be a number, and is a string"),
        (
            "execute_python",
            {"code": None, "timeout": []},
            "code has to be a string, and is null; timeout has to be a num",
        ),
        (
            "execute_python",
            {"code": "1", "tiemout": 3},
            "there is no argument 'tiemout'; did you mean timeout? It takes",
        ),
        ("load_context", {"path": {"a": 1}}, "path has to be a string or a list, and is an object"),
        ("get_repl_context", {"names": ["a", 7]}, "names[1] has to be a string, and is a number"),
        ("answer_queries", {"answers": {}, "cancel": "perhaps"}, "cancel has to be true or false, and is a string"),
        ("nope", {}, "there is no tool 'nope'; there are execute_python, "),
        ("execute_python", {"code": "x" * 1_000_001}, "the code has 1,000,001 characters"),
    ],
)
async def test_a_wrong_call_is_told_in_words(tool: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError) as refused:
        await App(Config()).server.call_tool(tool, arguments)
    assert str(refused.value).startswith(said)
    assert "pydantic" not in str(refused.value)


async def test_a_value_that_is_refused_is_not_repeated() -> None:
    with pytest.raises(ToolError) as refused:
        await App(Config()).server.call_tool("execute_python", {"code": ["a secret"]})
    assert "secret" not in str(refused.value)
