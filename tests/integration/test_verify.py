"""`rlm verify` over records of real runs: as written, altered, cut off, with a key and without."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.integration.cli import User, fenced, wait_for

KEY = "0123456789abcdef0123456789abcdef"
CODE = "save_artifact('table.csv', 'a,b')\nprint('x' * 200_000)\nFINAL(rlm_query('how many?', [1, 2]))"


def run(user: User, **environ: str) -> Path:
    done = user.rlm("run", "?", "--model", user.script(fenced(CODE), fenced("FINAL(2)")), **environ)
    assert done.returncode == 0, done.stderr
    assert "RLM_RECEIPT_KEY" not in done.stderr
    [path] = user.logs.glob("*.jsonl")
    return path


def test_a_run_verifies_with_all_it_left(user: User) -> None:
    run(user)
    done = user.rlm("verify", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["verdict"], found["artifacts"], found["scheme"]) == (0, "intact", 1, "sha256")
    assert found["blobs"] >= 1


def test_an_altered_line_is_named(user: User) -> None:
    path = run(user)
    path.write_bytes(path.read_bytes().replace(b'"how many?"', b'"how much?"', 1))
    line = path.read_bytes()[: path.read_bytes().index(b"how much?")].count(b"\n") + 1
    done = user.rlm("verify")
    assert done.returncode == 1
    assert f"line {line} was altered (sha256)" in done.stdout


def test_the_key_stays_out_of_the_record_and_away_from_code(user: User) -> None:
    path = run(user, RLM_RECEIPT_KEY=KEY)
    kept = b"".join(file.read_bytes() for file in path.parent.rglob("*") if file.is_file())
    assert KEY.encode() not in kept
    assert user.rlm("verify", RLM_RECEIPT_KEY=KEY).returncode == 0
    for environ in ({}, {"RLM_RECEIPT_KEY": KEY[::-1]}):
        assert user.rlm("verify", **environ).returncode == 2


def test_a_key_that_can_be_guessed_starts_no_run(user: User) -> None:
    done = user.rlm("run", "?", "--model", user.script(fenced("FINAL(1)")), RLM_RECEIPT_KEY="short")
    assert done.returncode == 2
    assert "fewer than 16 characters" in done.stderr


def test_a_killed_run_is_intact_but_unfinished(user: User) -> None:
    process = user.start("run", "?", "--model", user.script(fenced("while True: pass")), "--verbose")
    wait_for(process, "cell 1")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = user.rlm("verify")
    assert done.returncode == 0
    assert "intact up to line" in done.stdout


def test_models_never_see_ids_or_receipts(user: User) -> None:
    path = run(user)
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    asked = [event["body"]["content"] for event in events if event["type"] == "message"]
    hidden = {event[name] for event in events for name in ("run", "span", "chain")}
    assert len(asked) >= 4
    assert not [text for text in asked for value in hidden if value in text]


def test_a_record_is_named_by_its_path_too(user: User) -> None:
    path = run(user)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    done = user.rlm("verify", str(path), "--log-dir", "elsewhere")
    assert done.returncode == 1
    assert "is missing at the end" in done.stdout
    assert " to " not in done.stdout
    for command in (["logs", "show"], ["logs", "tail"], ["logs", "grep", "how many"]):
        assert user.rlm(*command, str(path)).returncode == 0


def test_a_folder_without_runs_says_where_runs_are(user: User) -> None:
    (user.cwd / "empty").mkdir()
    done = user.rlm("verify", "--log-dir", "empty")
    assert done.returncode == 2
    assert f"there are no runs in {user.cwd / 'empty'}" in done.stderr
    assert "--log-dir names another" in done.stderr
    assert "does not exist" in user.rlm("logs").stderr
    assert not list((user.cwd / "empty").iterdir())


def test_a_task_list_is_checked_with_all_its_runs(user: User) -> None:
    user.write("list.toml", '[[tasks]]\nid = "a"\nprompt = "?"\n[[tasks]]\nid = "b"\nprompt = "?"\n')
    model = user.script(fenced("FINAL(1)"), fenced("FINAL(2)"))
    assert user.rlm("tasks", "run", "list.toml", "--model", model, "--env", "local").returncode == 0
    [record] = user.logs.glob("*.tasks.jsonl")
    list_id = record.name.partition(".")[0]
    done = user.rlm("verify", list_id[:12], "--report", "report.md")
    assert (done.returncode, done.stdout.count("intact")) == (0, 3)
    assert "task b, run" in (user.cwd / "report.md").read_text()
    assert user.rlm("verify", "--last", "5").stdout.count("intact") == 2
    run_id = next(line for line in done.stdout.splitlines() if line.startswith("task a")).split()[3].rstrip(":")
    [path] = user.logs.glob(f"{run_id}*.jsonl")
    path.unlink()
    gone = user.rlm("verify", list_id)
    assert (gone.returncode, "it can't be read" in gone.stdout) == (1, True)
