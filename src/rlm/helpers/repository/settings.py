"""Reads the settings of a repository and its user, which runs no program, and tells which of them to override.

A repository may be hostile: its settings can name programs for filters, diffs, signing and more, under any name. Each
of these is overridden by name, so settings that could change while git runs are refused.
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
"""Patterns of settings that name programs, each with the value that overrides them."""
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
    """One of local, worktree, global and system."""
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings that apply in a repository; later ones win."""

    every: tuple[GitSetting, ...]

    def value(self, name: str) -> str:
        """The value of a setting, the repository's before the user's; "" if it is not set."""
        return next((each.value for each in reversed(self.every) if each.name == name), "")

    def overrides(self) -> dict[str, str]:
        """The overrides for git: for every setting by which the repository names a program, and the user's ignores."""
        found = dict(_disarmed(each.name for each in self._own()))
        ignored = self.value("core.excludesfile")
        return found | ({"core.excludesFile": ignored} if ignored else {})

    def require_fixed(self) -> None:
        """Check that the settings can't change after they were read.

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
        """Check that the repository doesn't change how https is spoken, by proxies, certificates or cookie files.

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
        """Check that git reaches a remote by itself.

        Raises:
            ToolError: the repository names a program for it, which could send anything to its address.
        """
        name = f"remote.{remote}.vcs"
        if self.value(name):
            raise ToolError(f"the repository's own setting {shown(name)} names a program: it is not pushed to.")

    def require_own_file(self, name: str, top: Path) -> None:
        """Check that the file that a setting names, if any, is in the working tree.

        Raises:
            ToolError: git would read another file, and could quote a line of it in an error.
        """
        for each in self._own():
            # "~", "%(prefix)" and ":(optional)" are not expanded here as git would.
            real = Path(os.path.realpath(top / each.value))
            if each.name == name and (each.value[:1] in ("~", "%", ":") or not real.is_relative_to(top)):
                raise ToolError(f"the repository's own setting {shown(name)} leads out of it, so it is left alone.")

    def _own(self) -> Iterator[GitSetting]:
        return (each for each in self.every if each.scope in ("local", "worktree"))


def read_settings(git: GitProgram) -> Settings:
    """The settings of the repository and its user.

    Raises:
        ToolError: they can't be read, or there are too many.
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
        if name.lower().startswith("filter."):  # a required filter would fail otherwise
            yield f"{name.rpartition('.')[0]}.required", "false"
