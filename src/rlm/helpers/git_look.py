"""`git.git_status`, `current_branch`, `diff`, `log`, `blame`: what a repository holds, as small facts."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.git_names import checked_revision
from rlm.helpers.git_repository import open_repository
from rlm.helpers.git_states import read_status
from rlm.helpers.helper import helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.types import Json
    from rlm.helpers.workspace import Workspace

MAX_LISTED = 1_000
MAX_DIFF_CHARS = 100_000
MAX_COMMITS = 500
_FIELDS = "%H%x00%h%x00%an%x00%aI%x00%D%x00%s"


@helper("git.git_status")
def git_status(work: Workspace, path: str = ".", limit: int = 200) -> Json:
    """Return the branch, whether a merge or the like is under way, and changed files by kind, renames with both names.

    Args:
        path: A folder of the repository.
        limit: The most files to name of each kind, up to 1,000; the counts are of all.
    """
    repository = open_repository(work, path)
    return read_status(repository).facts(repository.state, min(limit, MAX_LISTED))


@helper("git.current_branch")
def current_branch(work: Workspace, path: str = ".") -> Json:
    """Return the name of the branch, or None where HEAD is detached.

    Args:
        path: A folder of the repository.
    """
    done = open_repository(work, path).git.run("symbolic-ref", "--quiet", "--short", "HEAD")
    return os.fsdecode(done.output).strip() if done.code == 0 else None


@helper("git.diff")
def diff(
    work: Workspace,
    paths: list[str] | None = None,
    staged: bool = False,
    base: str | None = None,
    max_chars: int = 20_000,
    path: str = ".",
) -> Json:
    """Return a unified diff of the working tree, cut at a number of characters, with counts of all that changed.

    Args:
        paths: Files and folders to compare; none: all.
        staged: Compare what is staged.
        base: Compare with this commit or branch.
        max_chars: Where to cut the diff, up to 100,000; 0 gives the counts alone.
        path: A folder of the repository.
    """
    repository = open_repository(work, path)
    what = ["diff", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all", "--submodule=short", "--find-renames"]
    what += ["--cached"] * staged + ([] if base is None else [checked_revision(repository.git, base)])
    only = ["--", *repository.paths(paths or [])]
    counts = repository.git.checked(*what, "--numstat", "-z", *only).output
    facts = _counted(counts)
    if most := max(0, min(max_chars, MAX_DIFF_CHARS)):
        done = repository.git.checked(*what, "--no-color", "--src-prefix=a/", "--dst-prefix=b/", *only, most=4 * most)
        text = done.output.decode("utf-8", "replace")
        facts |= {"diff": text[:most], "was_cut": done.was_cut or len(text) > most}
    return facts


@helper("git.log")
def log(
    work: Workspace,
    limit: int = 20,
    offset: int = 0,
    base: str = "HEAD",
    paths: list[str] | None = None,
    path: str = ".",
) -> Json:
    """Return commits, the newest first: hash, author, date, subject.

    Args:
        limit: The most commits, up to 500.
        offset: How many to pass over first.
        base: The commit or branch to begin at.
        paths: Only commits that changed these.
        path: A folder of the repository.
    """
    repository = open_repository(work, path)
    if base == "HEAD" and repository.git.run("rev-parse", "--verify", "--quiet", "HEAD").code:
        return []
    asked = ["log", "-z", f"--format={_FIELDS}", "--no-show-signature", "--no-notes", "--no-ext-diff", "--no-textconv"]
    asked += [f"--max-count={max(0, min(limit, MAX_COMMITS))}", f"--skip={max(0, offset)}", "--encoding=UTF-8"]
    done = repository.git.checked(*asked, checked_revision(repository.git, base), "--", *repository.paths(paths or []))
    values = done.output.decode("utf-8", "replace").split("\0")
    names = ("commit", "short", "author", "date", "refs", "subject")
    rows = (values[at : at + len(names)] for at in range(0, len(values) - len(names) + 1, len(names)))
    return [{name: value[:500] for name, value in zip(names, row, strict=True)} for row in rows]


@helper("git.blame")
def blame(work: Workspace, file: str, start_line: int | None = None, end_line: int | None = None) -> Json:
    """Return who wrote the lines of a file: lines per author and per commit, the most first.

    Args:
        file: The file.
        start_line: The first line, from 1.
        end_line: The last line, inclusive.
    """
    repository = open_repository(work, file)
    first, last = start_line or 1, end_line
    if first < 1 or (last is not None and last < first):
        raise ToolError("lines count from 1, and end_line must not be before start_line.")
    span = f"{first},{last or ''}"
    (name,) = repository.paths([file])
    done = repository.git.run("blame", "--line-porcelain", "--no-textconv", "-L", span, "--", name)
    if done.code:
        raise ToolError(f"git blame of {shown(file)}: {done.said}")
    return _blamed(done.output)


def _blamed(output: bytes) -> Json:
    authors: Counter[str] = Counter()
    commits: Counter[str] = Counter()
    subjects: dict[str, str] = {}
    commit = ""
    is_head = True
    for line in output.decode("utf-8", "replace").split("\n"):
        if line.startswith("\t"):
            is_head = True
        elif is_head and line:
            commit, is_head = line.partition(" ")[0], False
            commits[commit] += 1
        elif line.startswith("author "):
            authors[line[7:200]] += 1
        elif line.startswith("summary "):
            subjects[commit] = line[8:200]
    top: list[Json] = [
        {"commit": commit, "lines": count, "subject": subjects.get(commit, "")}
        for commit, count in commits.most_common(20)
    ]
    return {"lines": commits.total(), "authors": dict(authors.most_common(20)), "commits": top}


def _counted(output: bytes) -> dict[str, Json]:
    """Counts from `--numstat -z`, in which a rename has its two names after an empty one."""
    rows: list[Json] = []
    added = removed = files = 0
    fields = iter(os.fsdecode(output).split("\0"))
    for field in fields:
        if not field:
            continue
        plus, minus, name = field.split("\t", 2)
        names = [name] if name else [next(fields), next(fields)]
        added, removed, files = added + _count(plus), removed + _count(minus), files + 1
        if len(rows) < MAX_LISTED:
            rows.append(_row(plus, minus, names))
    return {"files_changed": files, "lines_added": added, "lines_removed": removed, "files": rows}


def _row(plus: str, minus: str, names: Sequence[str]) -> Json:
    row: dict[str, Json] = {"file": names[-1], "added": _count(plus), "removed": _count(minus)}
    if len(names) > 1:
        row["from"] = names[0]
    if plus == "-":
        row["binary"] = True
    return row


def _count(text: str) -> int:
    return 0 if text == "-" else int(text)
