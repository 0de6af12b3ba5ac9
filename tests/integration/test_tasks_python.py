"""`rlm.tasks`: the functions with which programs do tasks."""

import csv
import io
import json
from pathlib import Path

import pytest

from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.budget import Budget
from rlm.core.config import Config
from rlm.core.exceptions import ConfigError, OutputValidationError, RunFailed
from rlm.core.types import ModelTraits
from rlm.tasks import Task, TaskList, cc_execute, cc_execute_list, cc_execute_task_list, export_execution_history

SAVES = tool_call("execute_code", code="save_artifact('out.csv', '1,2'); FINAL({'n': 2})")


@pytest.fixture
def how(tmp_path):
    return {"config": Config(model="m", environment="local", log_dir=str(tmp_path / "logs"))}


def test_outside_of_an_event_loop_it_is_plain(how):
    assert cc_execute("Count the lines of nothing", model=ScriptedBackend(["none"]), **how) == "none"


async def test_within_one_it_is_awaited(how):
    assert await cc_execute("Count the lines of nothing", model=ScriptedBackend(["none"]), **how) == "none"


def test_an_object_says_what_was_found_changed_and_has_a_receipt(how, tmp_path):
    heard = []
    made = cc_execute(
        "Make the table of numbers as CSV",
        json_mode=True,
        generate_report=True,
        progress_callback=heard.append,
        model=ScriptedBackend([SAVES]),
        **how,
    )
    assert made["result"] == {"n": 2}
    (created,) = made["files_created"]
    assert Path(created).read_text() == "1,2"
    assert (made["files_modified"], made["success"]) == ([], True)
    assert heard[-1] == "task: completed"
    receipt = Path(made["report"]).read_text()
    assert f"| run | {made['run_id']} |" in receipt
    assert "| record | intact" in receipt
    assert "> Make the table of numbers as CSV" in receipt


def test_what_is_not_valid_is_an_error_or_said_in_the_object(how):
    no = tool_call("execute_code", code="print(context); FINAL({'is_valid': False, 'reason': 'no tests'})")
    task = {"task": "Write 3 tests", "validation_prompt": "Are there tests?", **how}
    with pytest.raises(OutputValidationError, match="no tests"):
        cc_execute(**task, model=ScriptedBackend(["done", no]))
    made = cc_execute(**task, json_mode=True, model=ScriptedBackend(["done", no]))
    assert (made["success"], made["validation"]) == (False, {"is_valid": False, "reason": "no tests"})


def test_an_ambiguous_prompt_is_warned_of_and_a_better_one_never_sent(how):
    heard, backend = [], ScriptedBackend(["done"])
    cc_execute("Fix it somehow", amend_prompt=True, progress_callback=heard.append, model=backend, **how)
    assert any("'somehow' leaves open what is meant" in line for line in heard)
    assert any(line.startswith("suggestion, which is not sent: Fix it somehow\n\nDone when:") for line in heard)
    assert "Done when" not in str(backend.requests)


def test_a_prompt_over_the_window_is_refused_with_sizes_and_not_cut(how):
    small = ScriptedBackend(["never"], traits=ModelTraits(context_window_tokens=1_000))
    with pytest.raises(ConfigError, match=r"about 4,\d\d\d tokens and the model takes 1,000"):
        cc_execute("word " * 2_500, model=small, **how)
    assert small.requests == []


def test_a_list_is_done_in_order_and_one_failure_names_itself(how):
    look = tool_call("execute_code", code="print(context['task-1'])")
    assert cc_execute_list(["Say 1", "Say 2"], model=ScriptedBackend(["one", look, "two"]), **how) == ["one", "two"]
    with pytest.raises(RunFailed, match="task-1"):
        cc_execute_list(["Say 1", "Say 2"], model=ScriptedBackend([ValueError("gone")]), **how)
    made = cc_execute_list(["Say 1", "Say 2"], json_mode=True, model=ScriptedBackend([ValueError("gone")]), **how)
    assert [each["success"] for each in made] == [False, False]


def test_a_task_list_of_values_of_a_file_and_of_prompts(how, tmp_path):
    tasks = TaskList(tasks=[Task("a", "Say 1"), Task("b", "Say 2", output_type=int)])
    result = cc_execute_task_list(tasks, model=ScriptedBackend(lambda _request: "7"), **how)
    assert ([str(each) for each in result], result["b"].value) == (["7", "7"], 7)
    (tmp_path / "list.json").write_text(json.dumps({"tasks": [{"id": "a", "prompt": "Say 1"}]}))
    assert cc_execute_task_list(tmp_path / "list.json", model=ScriptedBackend(["1"]), **how)[0].response == "1"
    assert len(cc_execute_task_list(["Say 1"], model=ScriptedBackend(["1"]), **how)) == 1
    with pytest.raises(ConfigError, match="2 tasks have the id 'a'"):
        cc_execute_task_list([Task("a", "x"), Task("a", "y")], **how)


def test_the_history_of_tasks_is_json_or_csv_the_newest_first(how):
    cc_execute_list(["Say 1", "Say it"], json_mode=True, model=ScriptedBackend(["one", ValueError("gone")]), **how)
    rows = json.loads(export_execution_history(limit=5, **how))
    assert [(row["task"], row["state"]) for row in rows] == [("task-2", "failed"), ("task-1", "completed")]
    table = list(csv.DictReader(io.StringIO(export_execution_history(format="csv", limit=1, **how))))
    assert [row["task"] for row in table] == ["task-2"]
    with pytest.raises(ConfigError, match="json or csv"):
        export_execution_history(format="xml", **how)


def test_files_of_the_workspace_are_found_changed_whatever_is_claimed(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "old.txt").write_text("old")
    writes = f"fs.write_file('{work}/new.txt', 'n'); fs.write_file('{work}/old.txt', 'changed')"
    code = f"{writes}; FINAL('I wrote claimed.txt')"
    config = Config(
        model="m",
        environment="local",
        log_dir=str(tmp_path / "logs"),
        allowed_paths=(str(work),),
        budget=Budget(max_turns=3),
    )
    backend = ScriptedBackend([tool_call("execute_code", code=code)])
    made = cc_execute("Write 2 files", json_mode=True, model=backend, config=config)
    assert made["files_created"] == [str(work / "new.txt")], made
    assert made["files_modified"] == [str(work / "old.txt")]
