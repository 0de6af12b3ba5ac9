"""Reads the output of `git status` about a working tree, in its second machine format."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm.core.texts import escape_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.core.types import Json
    from rlm.helpers.repository.opening import Repository

_KINDS = {"M": "modified", "T": "modified", "A": "added", "D": "deleted"}
_ORDINARY_FIELDS, _RENAMED_FIELDS, _UNMERGED_FIELDS = 8, 9, 10


@dataclass(slots=True, kw_only=True)
class Status:
    """The changed files by kind; a file that was changed again after it was staged or renamed is in `modified` too."""

    branch: str | None = None
    """The current branch; None if HEAD is detached."""
    commit: str | None = None
    """The current commit; None before the first one."""
    upstream: str | None = None
    ahead: int = 0
    behind: int = 0
    staged: list[str] = field(default_factory=list)
    by_kind: dict[str, list[str]] = field(
        default_factory=lambda: {kind: [] for kind in ("modified", "added", "deleted", "untracked", "conflicted")}
    )
    renamed: list[tuple[str, str]] = field(default_factory=list)
    """The old and the new name of each renamed file."""
    submodules: list[str] = field(default_factory=list)
    """The submodules at another commit than the repository names; they are among the changed files too."""

    @property
    def paths(self) -> Iterator[str]:
        """Every changed file by its new name."""
        for names in self.by_kind.values():
            yield from names
        yield from (to for _, to in self.renamed)

    def facts(self, state: str | None, limit: int) -> dict[str, Json]:
        files: dict[str, Json] = {kind: [*map(readable, names[:limit])] for kind, names in self.by_kind.items()}
        renamed: list[Json] = [{"from": readable(old), "to": readable(new)} for old, new in self.renamed[:limit]]
        counts: dict[str, Json] = {kind: len(names) for kind, names in self.by_kind.items() if names}
        counts |= {"renamed": len(self.renamed)} if self.renamed else {}
        counts |= {"submodules": len(self.submodules)} if self.submodules else {}
        return {
            "branch": self.branch,
            "commit": self.commit,
            "upstream": self.upstream,
            "ahead": self.ahead,
            "behind": self.behind,
            "state": state,
            "is_clean": not counts,
            "counts": counts,
            "files": {
                **files,
                "renamed": renamed,
                "submodules": [*map(readable, self.submodules[:limit])],
                "staged": [*map(readable, self.staged[:limit])],
            },
        }


def readable(name: str) -> str:
    """A file name as text that JSON can carry: a byte that isn't UTF-8 becomes its number, as in `caf\\xe9`."""
    return escape_bytes(os.fsencode(name))


def read_status(repository: Repository, paths: Sequence[str] = ()) -> Status:
    """Ask git for the status of the paths, or of all files; of a submodule only whether its commit is another.

    Raises:
        ToolError: git failed.
    """
    asked = ("status", "--porcelain=v2", "-z", "--branch", "--find-renames", "--untracked-files=all")
    output = repository.git.checked(*asked, "--ignore-submodules=dirty", "--", *paths)
    status = Status()
    records = iter(os.fsdecode(output).split("\0"))
    for record in records:
        kind, _, rest = record.partition(" ")
        if kind == "#":
            _head(status, rest)
        elif kind == "2":
            _renamed(status, rest, next(records))
        elif kind:
            _changed(status, kind, rest)
    return status


def _head(status: Status, rest: str) -> None:
    name, _, value = rest.partition(" ")
    if name == "branch.head":
        status.branch = None if value == "(detached)" else readable(value)
    elif name == "branch.oid":
        status.commit = None if value == "(initial)" else value
    elif name == "branch.upstream":
        status.upstream = readable(value)
    elif name == "branch.ab":
        ahead, behind = value.split(" ")
        status.ahead, status.behind = int(ahead), -int(behind)


def _changed(status: Status, kind: str, rest: str) -> None:
    if kind == "?":
        status.by_kind["untracked"].append(rest)
    elif kind == "u":
        status.by_kind["conflicted"].append(rest.split(" ", _UNMERGED_FIELDS - 1)[-1])
    elif kind == "1":
        both, submodule, *_, path = rest.split(" ", _ORDINARY_FIELDS - 1)
        if both[0] != ".":
            status.staged.append(path)
        if submodule.startswith("S"):
            status.submodules.append(path)
        status.by_kind[_KINDS.get(both[1] if both[1] != "." else both[0], "modified")].append(path)


def _renamed(status: Status, rest: str, old: str) -> None:
    both, *_, path = rest.split(" ", _RENAMED_FIELDS - 1)
    if both[0] != ".":
        status.staged.append(path)
    if both[0] != "." and both[1] != ".":
        status.by_kind[_KINDS.get(both[1], "modified")].append(path)
    status.renamed.append((old, path))
