"""Replies kept across runs: shared by processes, private, and never the reason that a run fails."""

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from rlm.core.types import ModelReply, TokenUsage
from rlm.store.replies import SqliteReplies, cache_path


def reply(text):
    return ModelReply(text=text, usage=TokenUsage(input_tokens=3, output_tokens=4))


def test_what_was_put_is_found_by_another_instance(tmp_path):
    SqliteReplies(tmp_path / "r.sqlite").put("key", reply("answer"))
    assert SqliteReplies(tmp_path / "r.sqlite").get("key") == reply("answer")
    assert SqliteReplies(tmp_path / "r.sqlite").get("other") is None


def test_many_threads_and_processes_write_at_once(tmp_path):
    path = tmp_path / "deep" / "r.sqlite"
    code = (
        "import sys; from pathlib import Path; from rlm.store.replies import SqliteReplies; "
        "from rlm.core.types import ModelReply, TokenUsage; r = SqliteReplies(Path(sys.argv[1])); "
        "[r.put(f'{sys.argv[2]}-{n}', ModelReply(text=str(n), usage=TokenUsage())) for n in range(50)]; "
        "sys.exit(r.failure)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(3)]
    replies = SqliteReplies(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: replies.put(f"t-{n}", reply(str(n))), range(50)))
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert all(replies.get(f"{writer}-{n}").text == str(n) for writer in ("0", "1", "2", "t") for n in range(50))


def test_only_the_owner_can_read_it(tmp_path):
    path = tmp_path / "rlm" / "r.sqlite"
    SqliteReplies(path).put("key", reply("x"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_damaged_file_is_a_miss_that_says_why(tmp_path):
    (tmp_path / "r.sqlite").write_bytes(b"this is no database" * 100)
    replies = SqliteReplies(tmp_path / "r.sqlite")
    replies.put("key", reply("x"))
    assert replies.get("key") is None
    assert "not a database" in replies.failure


def test_the_file_is_the_users(tmp_path):
    assert cache_path({"XDG_CACHE_HOME": "/c", "HOME": "/h"}).as_posix() == "/c/rlm/replies.sqlite"
    assert cache_path({"HOME": "/h"}).as_posix() == "/h/.cache/rlm/replies.sqlite"
