"""The questions of a batch: rows of JSON lines or CSV, checked as a whole, read one at a time."""

import json
from pathlib import Path

import pytest

from rlm.core.exceptions import ConfigError
from rlm.jobs.batch.questions import Columns, Questions
from rlm.jobs.batch.template import Template


def questions(tmp_path, text, name="q.jsonl", prompt=None, **more):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Questions(path=path, template=None if prompt is None else Template(prompt), **more)


def lines(*rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def refusal(asked):
    with pytest.raises(ConfigError) as raised:
        asked.check()
    return str(raised.value)


def test_rows_have_a_prompt_of_their_own_or_one_made_of_their_columns(tmp_path):
    own = questions(tmp_path, lines({"prompt": "a?"}, {"id": 7, "prompt": "b?", "context": {"x": [1]}}))
    assert [(each.position, each.id, each.prompt, each.context) for each in own] == [
        (0, "1", "a?", None),
        (1, "7", "b?", {"x": [1]}),
    ]
    made = questions(tmp_path, lines({"who": "Ann {x}", "n": 3}), prompt="{who} has {n} of {{these}}?")
    assert [each.prompt for each in made] == ["Ann {x} has 3 of {these}?"]


def test_csv_is_read_as_spreadsheets_write_it(tmp_path):
    text = '\ufeffid,prompt,text\r\na,"one,\r\ntwo?",x\r\n\r\nb,three?,\r\n'
    found = list(questions(tmp_path, text, "q.csv", columns=Columns(context="text")))
    assert [(each.position, each.id, each.prompt, each.context) for each in found] == [
        (0, "a", "one,\r\ntwo?", "x"),
        (1, "b", "three?", ""),
    ]


def test_files_are_beside_the_questions_and_shared_ones_come_first(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    asked = questions(
        tmp_path,
        lines({"prompt": "?", "files": "a.txt"}, {"prompt": "?", "files": ["*.txt"]}),
        shared=(Path("s"),),
    )
    assert [each.context for each in asked] == [[Path("s"), tmp_path / "a.txt"], [Path("s"), tmp_path / "*.txt"]]


def test_all_wrong_rows_are_named_by_their_lines(tmp_path):
    rows = lines(
        {"id": "a", "prompt": "?"}, {"id": "a", "prompt": "?"}, {"prompt": " "}, {"prompt": "?", "files": "no"}
    )
    said = refusal(questions(tmp_path, rows + "[1]\n{\n" + lines({"text": "?"}, {"prompt": "?", "files": 3})))
    assert "line 1:" not in said
    for each in (
        "line 2: the id 'a' is that of line 1 already",
        "line 3: the prompt is empty",
        "line 4: there is no file",
        "line 5: a question has to be a JSON object",
        "line 6: not JSON",
        "line 7: there is no column 'prompt', but 'text'",
        "line 8: 'files' has to be a path",
    ):
        assert each in said


def test_one_bad_row_of_a_long_csv_is_named_and_many_are_counted(tmp_path):
    text = "prompt\n" + "?\n" * 3_000 + "a,b\n" + "?\n"
    assert "line 3002: 2 columns where the first line names 1" in refusal(questions(tmp_path, text, "q.csv"))
    assert "and 4 more" in refusal(questions(tmp_path, "[1]\n" * 24))
    assert "line 2: not UTF-8" in refusal(questions(tmp_path, b"prompt\n\xff?\n", "q.csv"))
    assert "line 2: not CSV" in refusal(questions(tmp_path, b'prompt\n"a"b\n', "q.csv"))
    assert "has no questions" in refusal(questions(tmp_path, "\n"))
    assert "whose name ends in" in refusal(questions(tmp_path, "", "q.txt"))


@pytest.mark.parametrize("text", ["{", "}", "{}", "{0.x}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}"])
def test_a_template_has_nothing_but_names_in_its_braces(text):
    with pytest.raises(ConfigError, match="--prompt"):
        Template(text)


def test_a_column_that_a_prompt_names_has_to_be_there(tmp_path):
    said = refusal(questions(tmp_path, lines({"a": 1}, {"a": None}), prompt="{a}"))
    assert "line 2: there is no 'a', which the prompt names; there are 'a'" in said
