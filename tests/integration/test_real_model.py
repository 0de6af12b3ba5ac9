"""The runner for real models, with a server in the place of one: each trial once, its cells under each policy."""

import asyncio
import json

import pytest

from benchmarks.real_model.__main__ import main
from benchmarks.real_model.table import interval
from benchmarks.real_model.tasks import is_right, own_tasks
from benchmarks.real_model.variants import VARIANTS, told
from rlm.core import prompts
from tests.servers.openai_server import completion, openai_server

LOOK = "```python\nn = {'bolts': 0}\nfor shelf in context.values():\n    n['bolts'] += shelf['bolts']\nprint(n)\n```"
END = "```repl\nFINAL(n['bolts'])\n```"


async def test_trials_are_made_once_and_put_into_a_table(tmp_path, capsys):
    out = tmp_path / "trials.jsonl"
    options = ["--out", str(out), "--only", "stock", "--dialects", "code", "--seeds", "1"]
    async with openai_server(completion(LOOK), completion(END)) as server:
        for _ in range(2):
            assert await asyncio.to_thread(main, [*options, "--url", server.base_url]) == 0
    [trial] = map(json.loads, out.read_bytes().splitlines())
    assert (trial["right"], trial["turns"], trial["refused"]) == (True, 2, {"strict": 2, "relaxed": 0, "off": 0})
    assert "| as it is | code | 1 | 1 | 100% (21% to 100%) | 2.0 |" in capsys.readouterr().out
    assert "`repl`" not in server.requests[0].body["messages"][0]["content"]


def test_each_variant_tells_something_else_and_keeps_every_placeholder():
    names = ("system", "dialect_code", "dialect_tools")
    own = {name: prompts._template(name).template for name in names}
    for variant in VARIANTS:
        with told(variant):
            changed = {name: prompts._template(name) for name in names}
        holders = set(changed["system"].get_identifiers())
        assert holders == set(prompts._template("system").get_identifiers())
        assert ({name: text.template for name, text in changed.items()} == own) == (variant == "as it is")


@pytest.mark.parametrize(
    ("right", "tried", "low", "high"), [(0, 0, 0, 1), (5, 10, 0.237, 0.763), (3, 12, 0.089, 0.532)]
)
def test_the_interval_is_wilsons(right, tried, low, high):
    assert interval(right, tried) == pytest.approx((low, high), abs=0.001)


def test_a_right_answer_is_a_word_or_the_only_number():
    task = own_tasks(1)[0]
    assert is_right(task, f"There are {task.answer} bolts.")
    assert not is_right(task, f"There are {task.answer} or 3 bolts.")
    assert not is_right(task, "None.")
    assert (
        [task.answer for task in own_tasks(1)]
        == [task.answer for task in own_tasks(1)]
        != [t.answer for t in own_tasks(2)]
    )
