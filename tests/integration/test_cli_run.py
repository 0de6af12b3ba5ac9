"""`rlm run` as a real process: what goes to stdout, what to stderr, and the exit code, for every way a run can end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.integration.cli import CHOSE, RLM, User, fenced
from tests.servers.openai_server import openai_server, refusal

ANSWER = fenced("FINAL(len(context))")


def test_the_answer_is_all_of_stdout(user: User) -> None:
    user.write("data.txt", "hello")
    done = user.rlm("run", "how long?", "-f", "data.txt", "--model", user.script(ANSWER))
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", CHOSE)
    [record] = user.logs.glob("*.jsonl")
    assert record.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("model_text", ["x", "", "x\nerror: x"])
def test_json_is_one_object(user: User, model_text: str) -> None:
    model = user.script(fenced(f"print({model_text!r}); FINAL({{'n': float('nan'), 't': '\\x1b[31m'}})"))
    done = user.rlm("run", "?", "--model", model, "--output-format", "json", "--verbose")
    result = json.loads(done.stdout)
    assert result["status"] == "completed"
    assert Path(user.cwd, result["trajectory"]).exists()
    assert result["usage"]["turns"] == 1
    assert "turn 1" in done.stderr


def test_stream_json_is_the_record_and_then_the_result(user: User) -> None:
    done = user.rlm("run", "?", "--model", user.script(fenced("FINAL(1)")), "-o", "stream-json")
    *events, result = map(json.loads, done.stdout.splitlines())
    assert (result["type"], result["response"]) == ("result", "1")
    record = Path(user.cwd, result["trajectory"]).read_text().splitlines()
    assert [event | {"chain": ""} for event in events] == [json.loads(line) | {"chain": ""} for line in record]


def test_piped_stdin_is_context(user: User) -> None:
    assert user.rlm("run", "?", "--model", user.script(ANSWER), stdin="four").stdout == "4\n"
    assert user.rlm("run", "?", "-f", "-", "--model", user.script(ANSWER), stdin="four").stdout == "4\n"


def test_piped_data_and_what_a_shell_substitutes_stand_beside_files(user: User) -> None:
    user.write("a.log", "A")
    user.write("b.txt", "B")
    model = user.script(fenced("FINAL(context)"))
    piped = user.rlm("run", "?", "-f", "a.log", "--model", model, "--out", "answer.json", stdin="four")
    assert (piped.returncode, piped.stdout) == (0, ""), piped.stderr
    assert json.loads((user.cwd / "answer.json").read_text()) == {"a.log": "A", "stdin": "four"}
    named = user.rlm("run", "?", "-f", "-", "-f", "a.log", "--model", model, stdin="four")
    assert json.loads(named.stdout) == {"a.log": "A", "stdin": "four"}
    command = f"{RLM} run ? --model {model} -f <(printf one) -f . --include '*.log' --exclude 'b*' < /dev/null"
    done = subprocess.run(["bash", "-c", command], cwd=user.cwd, env=user.environ, capture_output=True, text=True)
    assert sorted(json.loads(done.stdout).values()) == ["A", "one"], done.stderr


@pytest.mark.parametrize("stdin", [None, ""])
def test_no_stdin_is_no_context(user: User, stdin: str | None) -> None:
    model = user.script(fenced("FINAL(context is None)"))
    assert user.rlm("run", "?", "--model", model, stdin=stdin).stdout == "true\n"


def test_a_dash_reads_the_prompt(user: User) -> None:
    user.write("data.txt", "hello")
    model = user.script(ANSWER)
    assert user.rlm("run", "-", "-f", "data.txt", "--model", model, stdin="how long?").stdout == "5\n"
    done = user.rlm("logs", "show", "last", "--json")
    assert json.loads(done.stdout)["run"]["prompt"] == "how long?"


def test_files_folders_and_globs_are_a_dict(user: User) -> None:
    for name in ("in/a.txt", "in/b.txt", "in/c.md"):
        user.write(name, "x")
    model = user.script(fenced("FINAL(sorted(context))"))
    both = user.rlm("run", "?", "-f", "in/a.txt", "-f", "in/c.md", "--model", model)
    assert [Path(name).name for name in json.loads(both.stdout)] == ["a.txt", "c.md"]
    assert len(json.loads(user.rlm("run", "?", "-f", "in", "--model", model).stdout)) == 3
    assert len(json.loads(user.rlm("run", "?", "-f", "in/*.txt", "--model", model).stdout)) == 2


def test_a_schema_makes_the_answer_fit(user: User) -> None:
    user.write("schema.json", '{"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}')
    model = user.script(fenced("FINAL({'n': 'many'})"), fenced("FINAL({'n': 3})"))
    done = user.rlm("run", "?", "--model", model, "--output-schema", "schema.json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"n": 3})


def test_a_limit_exits_3_with_the_best_answer(user: User) -> None:
    model = user.script(fenced("x = 1"), "the best so far")
    done = user.rlm("run", "?", "--model", model, "--max-turns", "1")
    assert (done.returncode, done.stdout) == (3, "the best so far\n")
    what, hint, record = done.stderr.removeprefix(CHOSE).splitlines()
    assert what.startswith("error: max_turns is reached")
    assert hint.startswith("hint: raise it to go on from here: rlm resume ")
    assert (hint.split()[-2:], record[:8]) == (["--max-turns", "..."], "record: ")


def test_a_failing_provider_exits_4(user: User) -> None:
    done = user.rlm("run", "?", "--model", user.script())
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(f"{CHOSE}error: ")
    assert "record: " in done.stderr


async def test_a_refused_key_exits_4_and_is_not_repeated(user: User) -> None:
    import asyncio

    async with openai_server(refusal(401, "Incorrect API key: sk-secret-1", code="invalid_api_key")) as server:
        environ = {"OPENAI_API_KEY": "sk-secret-1", "OPENAI_BASE_URL": server.base_url}
        done = await asyncio.to_thread(user.rlm, "run", "?", "--model", "openai/x", **environ)
    assert (done.returncode, done.stdout) == (4, "")
    assert "sk-secret-1" not in done.stderr
    assert all("sk-secret-1" not in path.read_text() for path in user.logs.glob("*.jsonl"))


def test_no_model_exits_4_with_the_ways_to_get_one(user: User) -> None:
    done = user.rlm("run", "?")
    assert (done.returncode, done.stdout) == (4, "")
    assert "--model demo" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "Missing argument"),
        (["run", "?", "--nonsense"], "No such option"),
        (["run", " "], "the prompt is empty"),
        (["run", "-"], "the prompt was to come from stdin"),
        (["run", "-", "-f", "-"], "stdin can't be both"),
        (["run", "?", "-f", "missing.txt"], "missing.txt"),
        (["run", "?", "-f", "binary"], "binary"),
        (["run", "?", "--output-format", "xml"], "expected one of text, json, stream-json"),
        (["run", "?", "--output-schema", "missing.json"], "missing.json"),
        (["run", "?", "--output-schema", "binary"], "not JSON"),
        (
            ["run", "?", "--env", "dcoker"],
            "there is no sandbox 'dcoker'; choose from: auto, docker, e2b, local, ssh, wasm",
        ),
        (["run", "?", "--token-budget", "lots"], "--token-budget: expected a whole number"),
        (["run", "?", "--model", "openai/"], "names no model"),
        (["run", "?", "--encoding", "klingon"], "klingon"),
        (["nonsense"], "No such command"),
        (["run", "?", "-f", "binary", "binary"], "hint: quote a pattern, as in -f '*.log'"),
        (["run", "how", "many"], "too many arguments: many\nhint: put the prompt in quotes"),
        (["run", "?", "--out", "no/such/answer.txt"], "--out no/such/answer.txt: no file can be written there"),
        (["run", "?", "-f", "empty"], "there are no files in the folder empty"),
    ],
)
def test_wrong_usage_exits_2_before_anything_runs(user: User, arguments: list[str], said: str) -> None:
    (user.cwd / "binary").write_bytes(bytes(range(256)))
    (user.cwd / "empty").mkdir()
    stdin = "?" if arguments[-2:] == ["-f", "-"] else None
    model = [] if "--model" in arguments or arguments[0] != "run" else ["--model", user.script(ANSWER)]
    done = user.rlm(*arguments, *model, stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not user.logs.exists()


def test_binary_is_taken_when_asked_for(user: User) -> None:
    (user.cwd / "binary").write_bytes(bytes(range(256)))
    done = user.rlm("run", "?", "-f", "binary", "--include-binary", "--model", user.script(ANSWER))
    assert (done.returncode, done.stdout) == (0, "256\n")


def test_what_is_binary_names_the_ways_to_take_it(user: User) -> None:
    (user.cwd / "binary").write_bytes(bytes(range(256)))
    done = user.rlm("run", "?", "-f", "binary", "--model", user.script(ANSWER))
    assert done.returncode == 2
    assert "--include-binary" in done.stderr
    assert "--image" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_stream_that_is_closed_is_no_error(user: User, closed: str) -> None:
    model = user.script(fenced("FINAL(0)"))
    command = f"{RLM} run ? --model {model} {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=user.cwd, env=user.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("" if " >&-" in f" {closed}" else "0\n")
    assert "error" not in done.stderr


def test_an_unwritable_record_exits_1(user: User) -> None:
    user.write("logs", "in the way")
    done = user.rlm("run", "?", "--model", user.script(ANSWER), "--log-dir", "logs")
    assert (done.returncode, done.stdout) == (1, "")
    assert "log" in done.stderr


def test_a_reader_that_goes_away_is_no_error(user: User) -> None:
    process = user.start("run", "?", "--env", "local", "--model", user.script(fenced("FINAL('x' * 500_000)")))
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read().startswith("nobody read the answer; the answer is in the record: rlm logs answer ")
    process.stderr.close()
    assert process.wait() == 0


@pytest.mark.parametrize("form", ["text", "json", "stream-json"])
def test_a_full_disk_loses_no_answer(user: User, form: str) -> None:
    model = user.script(fenced("FINAL('the answer')"))
    with Path("/dev/full").open("wb") as full:
        process = user.start("run", "?", "--env", "local", "--model", model, "-o", form, stdout=full)
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() not in (0, 2)
    if form != "stream-json":
        assert "stdout can't be written: No space left on device\nhint: the answer is in the record" in said
        assert user.rlm("logs", "answer").stdout == "the answer\n"
    assert "should not happen" not in said


def test_a_reader_of_events_that_goes_away_ends_the_run(user: User) -> None:
    model = user.script(fenced("x = 1"), fenced("while True: pass"))
    process = user.start("run", "?", "--model", model, "-o", "stream-json", stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert '"run.start"' in process.stdout.readline()
    process.stdout.close()
    assert process.wait() == 141


def test_quiet_says_nothing_and_debug_shows_where(user: User) -> None:
    quiet = user.rlm("run", "?", "--model", user.script(fenced("FINAL(1)")), "--quiet", RLM_NONSENSE="1")
    assert (quiet.stdout, quiet.stderr) == ("1\n", "")
    assert "Traceback" in user.rlm("--debug", "run", "?", "-f", "missing").stderr
    failed = user.rlm("--debug", "run", "?", "--model", user.script()).stderr
    assert "Traceback" in failed
    assert "\nerror: the script of model" in failed


def test_flags_and_variables_reach_the_run(user: User) -> None:
    user.write("rlm.toml", "[rlm]\nmax_turns = 9\ntoken_budget = 70_000")
    user.rlm("run", "?", "--model", user.script(fenced("FINAL(1)")), "--max-turns", "5", RLM_TOKEN_BUDGET="none")
    [record] = user.logs.glob("*.jsonl")
    budget = json.loads(record.read_text().splitlines()[0])["body"]["budget"]
    assert (budget["max_turns"], budget["token_budget"]) == (5, None)


def test_the_limit_of_time_may_be_predicted_from_runs_like_it(user: User) -> None:
    first = user.rlm("run", "?", "-m", user.script(fenced("FINAL(1)")), "--env", "local", "--timeout-s", "auto")
    assert "time: the limit of 600 s stays: 0 runs like this one are known" in first.stderr
    for _ in range(4):
        assert user.rlm("run", "?", "-m", user.script(fenced("FINAL(1)")), "--env", "local").returncode == 0
    last = user.rlm("run", "?", "-m", user.script(fenced("FINAL(1)")), "--env", "local", "--timeout-s", "auto")
    assert "time: a limit of " in last.stderr
    assert "nine in ten of 5 runs like this one took at most" in last.stderr
