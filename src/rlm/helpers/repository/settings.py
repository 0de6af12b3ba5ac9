"""Reads the settings of a repository and of its user, which runs nothing, and says how git is to be told otherwise.

A repository is a stranger's: its settings can name programs for filters, diffs, signing and more, under names of its
own. Each of those is overridden by its name, so settings that could become others while git runs are refused.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.helpers.repository.program import GitProgram

_DISARMED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), instead)
    for pattern, instead in (
        (r"filter\..*\.(clean|smudge|process)", ""),
        (r"diff\..*\.(command|textconv)", ""),
        (r"diff\.external", ""),
        (r"merge\..*\.driver", "false"),
        (r"hook\..*\.command", "false"),
        (r"hook\..*\.enabled", "false"),
        (r"credential\..*\.helper", ""),
        (r"gpg\..*program", "false"),
        (r"trailer\..*\.(command|cmd)", "false"),
        (r"remote\..*\.receivepack", "git-receive-pack"),
        (r"remote\..*\.uploadpack", "git-upload-pack"),
        (r"core\.(sshcommand|editor|pager)", "false"),
        (r"pager\..*", ""),
        (r"submodule\..*\.update", "none"),
    )
)
"""Settings that name programs, and what each is overridden by."""
_INCLUDE = re.compile(r"include\.path|includeif\..*\.path", re.IGNORECASE | re.DOTALL)
_WEB = re.compile(r"(http\..*|remote\..*\.(proxy|proxyauthmethod|vcs))", re.IGNORECASE | re.DOTALL)
_HARMLESS_WEB = re.compile(
    r"http\.(.*\.)?(extraheader|postbuffer|version|lowspeedlimit|lowspeedtime|useragent)", re.IGNORECASE | re.DOTALL
)
_MAX_SETTINGS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSetting:
    """One line of a configuration."""

    scope: str
    """local, worktree, global, system."""
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What counts in a repository, later ones over earlier ones."""

    every: tuple[GitSetting, ...]

    def value(self, name: str) -> str:
        """What a setting is, the repository's before the user's; "" for nothing."""
        return next((each.value for each in reversed(self.every) if each.name == name), "")

    def overrides(self) -> dict[str, str]:
        """What git is to be told: nothing of the repository's that names a program, and what the user ignores."""
        found = dict(_disarmed(each.name for each in self._own()))
        ignored = self.value("core.excludesfile")
        return found | ({"core.excludesFile": ignored} if ignored else {})

    def require_fixed(self) -> None:
        """Let a repository pass whose settings stay as they were read.

        Raises:
            ToolError: they include another file, which could change while git runs.
        """
        for each in self._own():
            if _INCLUDE.fullmatch(each.name):
                raise ToolError(
                    f"its own configuration includes another file ({shown(each.name)}), which could change while git "
                    "runs, so it is left alone."
                )

    def require_plain_web(self) -> None:
        """Let a repository pass that does not change how https is spoken: proxies, certificates, cookie files.

        Raises:
            ToolError: it does.
        """
        for each in self._own():
            if _WEB.fullmatch(each.name) and not _HARMLESS_WEB.fullmatch(each.name):
                raise ToolError(
                    f"the repository's own setting {shown(each.name)} could lead your password elsewhere: "
                    "remove it, or push by yourself."
                )

    def require_no_program(self, remote: str) -> None:
        """Let a remote pass that git reaches by itself, whatever its address says.

        Raises:
            ToolError: the repository names a program for it, which could speak anything to that address.
        """
        name = f"remote.{remote}.vcs"
        if self.value(name):
            raise ToolError(f"the repository's own setting {shown(name)} names a program: it is not pushed to.")

    def require_own_file(self, name: str, top: Path) -> None:
        """Let a setting pass if the file that it names, if any, is one of the working tree.

        Raises:
            ToolError: git would read another, and show a line of it when it complains.
        """
        for each in self._own():
            # What git would put in the place of "~" or "%(prefix)", and what ":(optional)" is, is not looked into.
            real = Path(os.path.realpath(top / each.value))
            if each.name == name and (each.value[:1] in ("~", "%", ":") or not real.is_relative_to(top)):
                raise ToolError(f"the repository's own setting {shown(name)} leads out of it, so it is left alone.")

    def _own(self) -> Iterator[GitSetting]:
        return (each for each in self.every if each.scope in ("local", "worktree"))


def read_settings(git: GitProgram) -> Settings:
    """The settings of the repository and its user.

    Raises:
        ToolError: they can't be read, or are too many.
    """
    output = git.checked("config", "--list", "--show-scope", "-z")
    fields = [os.fsdecode(each) for each in output.split(b"\0")]
    if len(fields) > 2 * _MAX_SETTINGS:
        raise ToolError(f"its configuration has more than {_MAX_SETTINGS:,} settings, so it is left alone.")
    rows = zip(fields[::2], fields[1::2], strict=False)
    return Settings(every=tuple(_setting(scope, text) for scope, text in rows if scope != "command"))


def _setting(scope: str, text: str) -> GitSetting:
    name, _, value = text.partition("\n")
    return GitSetting(scope=scope, name=name, value=value)


def _disarmed(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        for pattern, instead in _DISARMED:
            if pattern.fullmatch(name):
                yield name, instead
        if name.lower().startswith("filter."):  # one that must run would fail instead
            yield f"{name.rpartition('.')[0]}.required", "false"
