"""`git.git_status`, `current_branch`, `diff`, `log`, `blame`: small facts about a repository."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.core.texts import escape_bytes
from rlm.helpers.operation import helper
from rlm.helpers.repository.names import checked_revision
from rlm.helpers.repository.opening import open_repository
from rlm.helpers.repository.program import complaint
from rlm.helpers.repository.status import read_status, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.types import Json
    from rlm.helpers.workspace import Workspace

MAX_LISTED = 1_000
MAX_DIFF_CHARS = 100_000
MAX_COMMITS = 500
_GROUP = re.compile(r"[0-9a-f]{40,64} \d+ \d+ (\d+)")
_FIELDS = "%H%x00%h%x00%an%x00%aI%x00%D%x00%s"


@helper("git.git_status")
def git_status(work: Workspace, path: str = ".", limit: int = 200) -> Json:
    """Return the branch, whether a merge or the like is under way, and changed files by kind, renames with both names.

    Args:
        path: A folder of the repository.
        limit: The most files to name of each kind, up to 1,000; the counts are of all.
    """
    repository = open_repository(work, path)
    return read_status(repository).facts(repository.state, max(0, min(limit, MAX_LISTED)))


@helper("git.current_branch")
def current_branch(work: Workspace, path: str = ".") -> Json:
    """Return the name of the branch, or None where HEAD is detached.

    Args:
        path: A folder of the repository.
    """
    done = open_repository(work, path).git.run("symbolic-ref", "--quiet", "--short", "HEAD")
    return escape_bytes(done.output).strip() if done.code == 0 else None


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
        paths: Files and folders to compare, as git_status names them; none: all.
        staged: Compare what is staged.
        base: Compare with this commit or branch.
        max_chars: Where to cut the diff, up to 100,000; 0 gives the counts alone.
        path: A folder of the repository.
    """
    repository = open_repository(work, path)
    what = [
        "diff",
        "--no-ext-diff",
        "--no-textconv",
        "--ignore-submodules=dirty",
        "--submodule=short",
        "--find-renames",
    ]
    what += ["--cached"] * staged + ([] if base is None else [checked_revision(repository.git, base)])
    names = repository.paths(paths or [])
    facts = _counted(repository.git.checked(*what, "--numstat", "-z", "--", *names))
    if not facts["files"]:
        repository.require_known(names)
    if most := max(0, min(max_chars, MAX_DIFF_CHARS)):
        what += ["--no-color", "--src-prefix=a/", "--dst-prefix=b/", "--", *names]
        done = repository.git.run(*what, most=4 * most)
        if done.code:
            raise ToolError(complaint("git diff", done))
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
        paths: Only commits that changed these files and folders, as git_status names them.
        path: A folder of the repository.
    """
    repository = open_repository(work, path)
    if base == "HEAD" and repository.git.run("rev-parse", "--verify", "--quiet", "HEAD").code:
        return []
    only = repository.paths(paths or [])
    asked = ["log", "-z", f"--format={_FIELDS}", "--no-show-signature", "--no-notes", "--no-ext-diff", "--no-textconv"]
    asked += [f"--max-count={max(0, min(limit, MAX_COMMITS))}", f"--skip={max(0, offset)}", "--encoding=UTF-8"]
    output = repository.git.checked(*asked, checked_revision(repository.git, base), "--", *only)
    if not output:
        repository.require_known(only)
    values = output.decode("utf-8", "replace").split("\0")
    names = ("commit", "short", "author", "date", "refs", "subject")
    rows = (values[at : at + len(names)] for at in range(0, len(values) - len(names) + 1, len(names)))
    return [{name: value[:500] for name, value in zip(names, row, strict=True)} for row in rows]


@helper("git.blame")
def blame(work: Workspace, file: str, start_line: int | None = None, end_line: int | None = None) -> Json:
    """Return who wrote the lines of a file: lines per author and per commit, the most first.

    Args:
        file: One file that is tracked.
        start_line: The first line, from 1.
        end_line: The last line, inclusive.
    """
    repository = open_repository(work, file)
    first = 1 if start_line is None else start_line
    if first < 1 or (end_line is not None and end_line < first):
        raise ToolError("lines count from 1, and end_line must not be before start_line.")
    repository.settings.require_own_file("blame.ignorerevsfile", repository.top)
    path = work.existing(file).path
    if path.is_dir():
        raise ToolError(f"{shown(file)} is a folder: git.blame takes one file.")
    name = str(path.relative_to(repository.top))
    span = [] if start_line is None and end_line is None else ["-L", f"{first},{end_line or ''}"]
    done = repository.git.run("blame", "--incremental", "--no-textconv", *span, "--", name)
    if done.code or done.was_cut:
        raise ToolError(complaint(f"git blame of {shown(file)}", done))
    return _blamed(done.output)


def _blamed(output: bytes) -> Json:
    """Counts from the output of `--incremental`: groups of lines, with a commit described at its first group."""
    lines: Counter[str] = Counter()
    author: dict[str, str] = {}
    subject: dict[str, str] = {}
    commit = ""
    for line in output.decode("utf-8", "replace").split("\n"):
        key, _, value = line.partition(" ")
        if group := _GROUP.fullmatch(line):
            commit = key
            lines[commit] += int(group[1])
        elif key in ("author", "summary"):
            (author if key == "author" else subject)[commit] = value[:200]
    authors: Counter[str] = Counter()
    for commit, count in lines.items():
        authors[author[commit]] += count
    top: list[Json] = [
        {"commit": commit, "lines": count, "subject": subject.get(commit, "")}
        for commit, count in lines.most_common(20)
    ]
    return {"lines": lines.total(), "authors": dict(authors.most_common(20)), "commits": top}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changed:
    """One file of a diff."""

    added: int
    removed: int
    is_binary: bool
    names: Sequence[str]
    """The name of the file; the old and the new one for a rename."""

    def row(self) -> Json:
        *old, name = map(readable, self.names)
        row: dict[str, Json] = {"file": name, "added": self.added, "removed": self.removed}
        return row | ({"from": old[0]} if old else {}) | ({"binary": True} if self.is_binary else {})


def _counted(output: bytes) -> dict[str, Json]:
    """Counts from the output of `--numstat -z`, in which a rename has an empty name and then its two names."""
    changed: dict[str, _Changed] = {}  # a file with conflicts comes twice, the second time with counts
    fields = iter(os.fsdecode(output).split("\0"))
    for field in fields:
        if field:
            plus, minus, name = field.split("\t", 2)
            names = [name] if name else [next(fields), next(fields)]
            changed[names[-1]] = _Changed(added=_count(plus), removed=_count(minus), is_binary=plus == "-", names=names)
    return {
        "files_changed": len(changed),
        "lines_added": sum(each.added for each in changed.values()),
        "lines_removed": sum(each.removed for each in changed.values()),
        "files": [each.row() for each in [*changed.values()][:MAX_LISTED]],
    }


def _count(text: str) -> int:
    return 0 if text == "-" else int(text)
