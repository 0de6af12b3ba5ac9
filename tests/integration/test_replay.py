"""Records run once more: nothing is called, and what comes out otherwise is named. By the CLI, and as a backend."""

import json
import os

from rlm import RLM, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from tests.integration.cli import fenced
from tests.support.environments import in_each
from tests.support.required import TEST_IMAGE
from tests.support.wasm import cache


def cell(code):
    return tool_call("execute_code", code=code)


def recorded(folder, main, sub=()):
    config = Config(log_dir=str(folder), model="main", sub_model="sub")
    with RLM(ScriptedBackend({"main": main, "sub": sub}), config=config) as rlm:
        return rlm.completion("q", "some data")


TREE = [cell("x = llm_query('a')\nprint(x)"), cell("y = rlm_query('b', 'part')\nprint(y)"), cell("FINAL([x, y])")]


def test_a_run_that_does_the_same_again_has_no_difference(tmp_path):
    first = recorded(tmp_path, TREE, ["sub", cell("FINAL(context)")])
    backend = ScriptedBackend([])
    with RLM(backend, config=Config(log_dir=str(tmp_path))) as rlm:
        report = rlm.replay(first.run_id, context="some data")
    assert (report.cells, report.served, report.differences) == (4, 5, ())
    assert backend.requests == []
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


def test_a_replay_keeps_no_exact_text_and_no_copy_of_the_context(tmp_path, monkeypatch):
    script = [cell("x = 'sk-proj-T3stKq8ZpL0vXw7YbN2mR9' + 'dF4gH6jKq8ZpL0vXw7Yb'\nprint(x)"), cell("FINAL(1)")]
    first = recorded(tmp_path / "logs", script)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = set()

    class Look:
        def write(self, _event):
            kept.update(path.suffix for path in tmp_path.glob("rlm-replay-*/*"))

        def close(self):
            pass

    with RLM(ScriptedBackend([]), config=Config(log_dir=str(tmp_path / "logs")), sinks=[Look()]) as rlm:
        assert rlm.replay(first.run_id, context="some data").cells == 2
    assert kept >= {".jsonl", ".receipt"}
    assert not kept & {".exact", ".context"}


def test_each_difference_has_its_place_and_the_rest_follows_the_record(tmp_path):
    script = [cell("import time\nprint(time.time_ns())"), cell("b = 2\nprint(b)"), cell("FINAL(b)")]
    first = recorded(tmp_path, script)
    with RLM(ScriptedBackend([]), config=Config(log_dir=str(tmp_path))) as rlm:
        report = rlm.replay(first.run_id, context="some data")
    first_one = report.differences[0]
    assert (first_one.turn, first_one.cell, first_one.what) == (1, 1, "output")
    assert {each.turn for each in report.differences} == {1}
    assert report.cells == 3


def test_the_command_compares_resumes_and_forks(user):
    user.write("in.txt", "a\nb\n")
    model = user.script(fenced("n = len(context)\nprint(n)"))
    cut_off = user.rlm("run", "How long?", "-f", "in.txt", "--model", model)
    assert cut_off.returncode == 4
    user.script(fenced("FINAL(n)"))
    resumed = user.rlm("resume", "last")
    assert (resumed.returncode, resumed.stdout) == (0, "4\n"), resumed.stderr
    assert user.rlm("resume", "last").returncode == 2
    replayed = user.rlm("replay", "last", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["cells"] == 2
    user.script(fenced("FINAL(n + 1)"))
    forked = user.rlm("fork", "last", "--turn", "1", "--prompt-addition", "one more")
    assert (forked.returncode, forked.stdout) == (0, "5\n"), forked.stderr


@in_each
def test_the_command_replays_in_any_sandbox(user, environment):
    user.write("rlm.toml", f'[docker]\nimage = "{TEST_IMAGE}"\nwarm = 0\n[wasm]\nwarm = 0\n')
    user.environ["XDG_CACHE_HOME"] = str(cache(dict(os.environ)).parents[1])
    code = "import random\nprint(random.random(), llm_query('a'))"
    model = user.script(fenced(code), "7", fenced("FINAL(len(context))"))
    ran = user.rlm("run", "q", "--env", "local", "--model", model, stdin="four")
    assert (ran.returncode, ran.stdout) == (0, "4\n"), ran.stderr
    replayed = user.rlm("replay", "last", "--environment", environment, "-f", "-", stdin="four")
    assert replayed.stdout == "2 cells, 3 answers from the record: no difference\n", replayed.stderr


def test_a_limit_names_the_way_on(user):
    model = user.script(fenced("n = 1"), "nothing yet")
    reached = user.rlm("run", "q", "--model", model, "--max-turns", "1")
    assert reached.returncode == 3
    assert "rlm resume" in reached.stderr
    user.script(fenced("FINAL(n)"))
    resumed = user.rlm("resume", "last", "--max-turns", "2")
    assert (resumed.returncode, resumed.stdout) == (0, "1\n"), resumed.stderr


def test_a_record_is_a_model(tmp_path):
    first = recorded(tmp_path / "first", TREE, ["sub", cell("FINAL(context)")])
    with RLM(f"replay/{first.trajectory}", config=Config(log_dir=str(tmp_path / "again"))) as rlm:
        again = rlm.completion("q", "some data")
        other = rlm.completion("something else", "some data")
    assert (again.value, again.usage) == (first.value, first.usage)
    assert "has no reply left" in str(other.error)


def test_the_command_takes_what_resume_and_fork_take(user):
    model = user.script(fenced("n = 2"), fenced("FINAL(n)"))
    local = ("--environment", "local")
    assert user.rlm("run", "go", "--session", "work", "-m", model, *local).stdout == "2\n"
    assert "give the same session" in user.rlm("replay").stderr
    replayed = user.rlm("replay", "--session", "work", "-o", "json", "--max-turns", "5", *local)
    assert json.loads(replayed.stdout)["differences"] == [], replayed.stderr
    refused = user.rlm("replay", "-o", "stream-json")
    assert (refused.returncode, "text or json" in refused.stderr) == (2, True)
    forked = user.rlm("fork", "--turn", "1", "--session", "work", "-m", user.script(fenced("FINAL(n * 10)")), *local)
    assert forked.stdout == "20\n", forked.stderr
