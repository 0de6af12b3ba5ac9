"""A label stands for a secret that somebody was not shown: written back, it would take the secret's place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.config import Config
from rlm.core.exceptions import ToolError
from rlm.helpers import fs, open_helpers
from rlm.helpers.guest_tools import GuestHelpers
from rlm.helpers.opening import guest_helpers, open_workspace
from rlm.processes.worker import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN = "ghp_" + "aB3dE6gH9j" * 4
LABEL = "[REDACTED_GITHUB_TOKEN]"
ENV = f"HOST=a\nTOKEN={TOKEN}\n"
COPY = {"source_file": "docs.md", "start_line": 1, "end_line": 1, "target_file": "new.md"}


@pytest.fixture
def env(tree: Path) -> Path:
    """A tree with a secret in `config.env`, and with a text that speaks of its label."""
    (tree / "config.env").write_text(ENV)
    (tree / "docs.md").write_text(f"A token is shown as {LABEL}.\n")
    return tree


WRITES: dict[str, Callable[[], object]] = {
    "the file": lambda: fs.write_file("config.env", f"HOST=b\nTOKEN={LABEL}\n"),
    "a dry run": lambda: fs.write_file("config.env", f"HOST=b\nTOKEN={LABEL}\n", dry_run=True),
    "another label": lambda: fs.write_file("config.env", ENV + "KEY=[REDACTED_API_KEY]\n"),
    "a new file": lambda: fs.write_file("other/config.env", f"TOKEN={LABEL}\n"),
    "a name": lambda: fs.write_file(f"{LABEL}.env", "x"),
    "a line": lambda: fs.paste_code("config.env", -1, f"OLD={LABEL}\n"),
    "a replacement": lambda: fs.search_replace("config.env", "HOST=a", f"HOST={LABEL}"),
    "a template": lambda: fs.search_replace("config.env", "(TOKEN)=", r"\1=[REDACTED_\1] ", regex=True),
    "once more": lambda: fs.write_file("docs.md", f"{LABEL}\nA token is shown as {LABEL}.\n"),
    "without its brackets": lambda: fs.write_file("config.env", "HOST=b\nTOKEN=REDACTED_GITHUB_TOKEN\n"),
    "shortened": lambda: fs.write_file("config.env", "HOST=b\nTOKEN=<redacted>\n"),
    "escaped": lambda: fs.write_file("config.env", "HOST=b\nTOKEN=%5BREDACTED_GITHUB_TOKEN%5D\n"),
}


@pytest.mark.parametrize("what", WRITES)
def test_no_edit_brings_in_a_label(env: Path, what: str) -> None:
    before = {path: path.read_text() for path in env.iterdir()}
    with pytest.raises(ToolError, match="(?i)redacted.* Nothing was written.* edit around it in code"):
        WRITES[what]()
    assert {path: path.read_text() for path in env.iterdir()} == before


def test_a_label_that_was_elsewhere_in_the_file_pays_for_none(env: Path) -> None:
    (env / "both").write_text(f"See {LABEL}.\n{ENV}")
    with pytest.raises(ToolError, match="Nothing was written"):
        fs.write_file("both", f"See below.\nHOST=a\nTOKEN={LABEL}\n")


def test_in_another_encoding_a_label_is_one_too(env: Path) -> None:
    (env / "wide").write_text(ENV, encoding="utf-16")
    with pytest.raises(ToolError, match="Nothing was written"):
        fs.write_file("wide", ENV.replace(TOKEN, LABEL))


def test_edits_around_a_secret_keep_it(env: Path) -> None:
    fs.search_replace("config.env", "HOST=a", "HOST=b")
    fs.write_file("config.env", fs.read_file("config.env") + "MORE=1\n")
    assert (env / "config.env").read_text() == f"HOST=b\nTOKEN={TOKEN}\nMORE=1\n"


def test_a_label_that_a_file_holds_may_stay_move_and_go(env: Path) -> None:
    fs.write_file("docs.md", f"# Labels\n\nA secret is shown as {LABEL}.\n")
    fs.search_replace("docs.md", LABEL, "a label")
    fs.undo()
    assert LABEL in (env / "docs.md").read_text()


def test_what_comes_from_a_file_may_be_copied(env: Path) -> None:
    fs.batch_copy([COPY])
    assert LABEL in (env / "new.md").read_text()


def test_ordinary_words_are_no_labels(env: Path) -> None:
    fs.write_file("a.py", "REDACTED_FIELDS = ['a']\nredacted = '[REDACTED]'\n")
    fs.search_replace("a.py", "redacted", "hidden")


def test_the_right_to_write_labels_is_asked_for(env: Path) -> None:
    allowed = open_helpers(env, rights=["read", "write", "labels"])
    allowed.fs.write_file("new.md", LABEL)
    assert (env / "new.md").read_text() == LABEL


async def test_a_guest_is_told_how_to_edit(env: Path) -> None:
    workers = WorkerPool(size=1)
    helpers = GuestHelpers(open_workspace([env], ["read", "write"], os.environ), workers, 30.0)
    with pytest.raises(
        ToolError, match=r"fs.write_file: \[REDACTED_GITHUB_TOKEN\] would come into 'config.env'.*with 'labels'"
    ):
        await helpers.get("fs.write_file").call({"path": "config.env", "content": f"TOKEN={LABEL}\n"})
    await workers.aclose()
    assert (env / "config.env").read_text() == ENV


def test_labels_are_only_text_where_nothing_is_masked(env: Path) -> None:
    for mask, allowed in (("secrets", False), ("off", True)):
        helpers = guest_helpers(Config(allowed_paths=(str(env),), mask=mask), WorkerPool())
        write: Any = helpers and helpers.get("fs.write_file")
        assert ("labels" in write.work.rights) is allowed


@pytest.mark.parametrize(("search", "regex"), [(f"TOKEN={LABEL}", False), (r"TOKEN=\[REDACTED_GITHUB_TOKEN\]", True)])
def test_a_search_for_what_a_label_stands_for_says_that_no_file_has_it(env: Path, search: str, regex: bool) -> None:
    facts = fs.search_replace("config.env", search, "TOKEN=none", regex=regex)
    assert facts["files_modified"] == 0
    assert "is in no file: search for what stands around it" in facts["note"]
