"""Each line of a client comes through, mended, or is refused by the id it has: none is dropped without a word."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from rlm.mcp.server.lines import Requests


def asked(params: str, request_id: str = "7") -> str:
    return f'{{"jsonrpc":"2.0","method":"tools/call","params":{params},"id":{request_id}}}'


async def read(*lines: str) -> tuple[list[Any], list[object]]:
    """What comes through, and the ids that were refused."""
    requests, refused = Requests(io.StringIO("\n".join(lines))), []

    async def refuse(request_id: str | int | None) -> None:
        refused.append(request_id)

    requests.refuse = refuse
    return [json.loads(line) async for line in requests], refused


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r'"\ud83dx"', "\ufffdx"),
        (r'"\uD83D"', "\ufffd"),
        (r'"x\udfff\ud83d\ude00"', "x\ufffd\U0001f600"),
        (r'"\\ud83d"', r"\ud83d"),
        (r'"\\\ud83d"', "\\\ufffd"),
        ('"\U0001f600"', "\U0001f600"),
    ],
)
async def test_half_of_a_surrogate_pair_is_replaced(written: str, value: str) -> None:
    [came], refused = await read(asked(f'{{"code":{written}}}'))
    assert (came["params"]["code"], refused) == (value, [])


async def test_what_cannot_be_read_is_refused_and_the_next_comes_through() -> None:
    deep = "[" * 400 + "]" * 400
    lines = (
        asked(f'{{"a":{deep}}}'),
        asked("5", '"x"'),
        "{broken",
        "",
        "[" * 100_000,
        "[1]",
        '{"id":true}',
        asked("{}"),
    )
    came, refused = await read(*lines)
    assert [each["id"] for each in came] == [7]
    assert refused == [7, "x", None, None, None, None]
