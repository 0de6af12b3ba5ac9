"""What a run came to is the same from its record as from the process that made it, its value too."""

import pytest

from rlm import RLM, Budget, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.jobs.engines.ended import end_of, value_of
from rlm.service.results import note_on_record, result_note

CHILD = "FINAL([1, 2, int(rlm_query('child'))])"


@pytest.mark.parametrize(
    ("cells", "value"),
    [
        (["FINAL(6 * 7)"], 42),
        (["x = 1", "FINAL({'a': [x, None], 'b': 'text'})"], {"a": [1, None], "b": "text"}),
        ([CHILD, "FINAL('7')"], [1, 2, 7]),
        (["FINAL('as it is')"], "as it is"),
        ([None], "in words"),
        (["FINAL('x' * 200_000)"], "x" * 200_000),
        (["print(1)", "print(2)"], None),
    ],
    ids=["number", "dict", "child", "text", "reply", "large", "limit"],
)
def test_the_record_has_the_value_of_the_answer(tmp_path, cells, value):
    replies = [tool_call("execute_code", code=code) if code else "in words" for code in cells]
    config = Config(log_dir=str(tmp_path), environment="local", budget=Budget(max_turns=2))
    with RLM(ScriptedBackend(replies), config=config) as rlm:
        result = rlm.completion("x")
    assert (value_of(result.trajectory, end_of(result.trajectory)), result.value) == (value, value)
    assert note_on_record(result.trajectory) == result_note(result)
