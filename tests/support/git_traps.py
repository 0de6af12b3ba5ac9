"""The ways in which git runs a program that a repository names, each with a command of plain git that falls into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.git_trees import Hostile, make_repository, run_git

if TYPE_CHECKING:
    from collections.abc import Callable

HOOKS = (
    "pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "post-checkout", "reference-transaction",
    "post-index-change", "pre-auto-gc", "fsmonitor-watchman", "post-rewrite",
)  # fmt: skip
_FAILS = "exit 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """What a hostile repository lays."""

    lay: Callable[[Hostile], None]
    sprung_by: tuple[str, ...]
    """A command of plain git that runs the program; without one, the trap would show nothing."""


def _hook(*names: str) -> Callable[[Hostile], None]:
    def lay(trap: Hostile) -> None:
        for name in names:
            trap.hook(name)

    return lay


def _hooks_path(trap: Hostile) -> None:
    _hook(*HOOKS)(trap)
    (trap.folder / ".git" / "hooks").rename(trap.folder / "scripts")
    trap.config("core.hooksPath", "scripts")


def _pre_push(trap: Hostile) -> None:
    trap.hook("pre-push")
    trap.config("remote.origin.url", str(trap.folder / ".git"))


def _filter(kind: str, name: str = "evil") -> Callable[[Hostile], None]:
    def lay(trap: Hostile) -> None:
        trap.config(f"filter.{name}.{kind}", trap.script("filter", "true" if kind == "process" else "cat"))
        trap.config(f"filter.{name}.required", "true")
        (trap.folder / ".gitattributes").write_text(f"* filter={name}\n")

    return lay


def _smudge(trap: Hostile) -> None:
    trap.config("filter.evil.smudge", trap.script("filter"))
    trap.attributes("* filter=evil")


def _setting(key: str, attribute: str = "", **others: str) -> Callable[[Hostile], None]:
    """A setting that names the program; others that it needs, with `__` for a dot."""

    def lay(trap: Hostile) -> None:
        trap.config(key, trap.script("program"))
        for name, value in others.items():
            trap.config(name.replace("__", "."), value)
        if attribute:
            trap.attributes(attribute)

    return lay


def _remote(url: str, key: str, value: str = "{}", **others: str) -> Callable[[Hostile], None]:
    """A remote, and a program that reaching it runs; `{}` is the program."""

    def lay(trap: Hostile) -> None:
        program = trap.script("program", _FAILS)
        trap.config("remote.origin.url", url.format(program))
        if key:
            trap.config(key.format(program), value.format(program))
        for name, other in others.items():
            trap.config(name.replace("__", "."), other)

    return lay


def _foreign(trap: Hostile) -> None:
    """To git-remote-ext an address is a command, and this one is a file of the working tree."""
    program = trap.folder / "ssh:" / "host" / "x"
    program.parent.mkdir(parents=True)
    program.write_bytes(Path(trap.script("program", _FAILS)).read_bytes())
    program.chmod(0o755)
    _remote("ssh://host/x", "remote.origin.vcs", "ext", protocol__ext__allow="always")(trap)


def _worktree_setting(trap: Hostile) -> None:
    trap.config("extensions.worktreeConfig", "true")
    run_git(trap.folder, "config", "--worktree", "core.fsmonitor", trap.script("monitor"))


def _merge_driver(trap: Hostile) -> None:
    run_git(trap.folder, "checkout", "--quiet", "-b", "side", "HEAD~1")
    (trap.folder / "a.txt").write_text("side\n")
    run_git(trap.folder, "commit", "--quiet", "-am", "side")
    run_git(trap.folder, "checkout", "--quiet", "main")
    _setting("merge.evil.driver", "* merge=evil")(trap)


def _alternate_refs(trap: Hostile) -> None:
    other = make_repository(trap.folder / "other")
    (trap.folder / ".git" / "objects" / "info").mkdir(exist_ok=True)
    (trap.folder / ".git" / "objects" / "info" / "alternates").write_text(f"{other / '.git' / 'objects'}\n")
    trap.config("core.alternateRefsCommand", trap.script("program"))


def _ssh_signing(trap: Hostile) -> None:
    _setting("gpg.ssh.program", commit__gpgSign="true", gpg__format="ssh")(trap)
    trap.config("gpg.ssh.defaultKeyCommand", trap.script("keys"))


def _lazy_fetch(url: str) -> Callable[[Hostile], None]:
    """A partial clone that lacks an object: git would fetch it, over a program of the repository's choice."""

    def lay(trap: Hostile) -> None:
        trap.config("remote.origin.url", url.format(folder=trap.folder, program=trap.script("ext", _FAILS)))
        trap.config("remote.origin.promisor", "true")
        trap.config("remote.origin.uploadpack", trap.script("upload", _FAILS))
        trap.config("protocol.ext.allow", "always")
        trap.config("extensions.partialClone", "origin")
        trap.config("core.repositoryFormatVersion", "1")
        blob = run_git(trap.folder, "rev-parse", "HEAD:a.txt")
        (trap.folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()

    return lay


def _submodule(*, tracked: bool) -> Callable[[Hostile], None]:
    """A repository in the repository, with a monitor; one that is tracked asks to be looked into."""

    def lay(trap: Hostile) -> None:
        inner = make_repository(trap.folder / "inner")
        run_git(inner, "config", "core.fsmonitor", trap.script("monitor"))
        run_git(trap.folder, "-c", "advice.addEmbeddedRepo=false", "add", "inner")
        if tracked:
            run_git(trap.folder, "commit", "--quiet", "-m", "inner")
            (trap.folder / ".gitmodules").write_text('[submodule "inner"]\n  path = inner\n  url = ./inner\n')
            trap.config("submodule.inner.active", "true")
            trap.config("submodule.inner.ignore", "none")
        (inner / "a.txt").write_text("changed\n")

    return lay


_COMMIT = ("commit", "--quiet", "--allow-empty", "-m", "x")
_ADD = ("add", "a.txt")
_DIFF = ("diff", "HEAD~1")
_PUSH = ("push", "origin", "main:other")

TRAPS: dict[str, Trap] = {
    "hooks": Trap(lay=_hook(*HOOKS), sprung_by=_COMMIT),
    "hook of an index": Trap(lay=_hook("post-index-change"), sprung_by=_ADD),
    "hook of a branch": Trap(lay=_hook("reference-transaction"), sprung_by=("branch", "x")),
    "hook of a push": Trap(lay=_pre_push, sprung_by=_PUSH),
    "hooks path": Trap(lay=_hooks_path, sprung_by=_COMMIT),
    "clean": Trap(lay=_filter("clean"), sprung_by=_ADD),
    "smudge": Trap(lay=_smudge, sprung_by=("checkout", "--quiet", "--force", "HEAD~1")),
    "process": Trap(lay=_filter("process"), sprung_by=_ADD),
    "lfs by name": Trap(lay=_filter("process", "lfs"), sprung_by=_ADD),
    "odd name of a filter": Trap(lay=_filter("clean", "a=b.c"), sprung_by=_ADD),
    "fsmonitor": Trap(lay=_setting("core.fsmonitor"), sprung_by=("status",)),
    "setting of a working tree": Trap(lay=_worktree_setting, sprung_by=("status",)),
    "textconv": Trap(lay=_setting("diff.evil.textconv", "* diff=evil"), sprung_by=_DIFF),
    "diff command": Trap(lay=_setting("diff.evil.command", "* diff=evil"), sprung_by=_DIFF),
    "external diff": Trap(lay=_setting("diff.external"), sprung_by=_DIFF),
    "merge driver": Trap(lay=_merge_driver, sprung_by=("merge", "side")),
    "pager": Trap(lay=_setting("core.pager"), sprung_by=("log",)),
    "pager of a command": Trap(lay=_setting("pager.log"), sprung_by=("log",)),
    "editor": Trap(lay=_setting("core.editor"), sprung_by=("commit", "--allow-empty")),
    "sequence editor": Trap(lay=_setting("sequence.editor"), sprung_by=("rebase", "-i", "HEAD~1")),
    "askpass": Trap(lay=_setting("core.askPass"), sprung_by=("credential", "fill")),
    "credential helper": Trap(lay=_setting("credential.helper"), sprung_by=("credential", "fill")),
    "credential helper of a place": Trap(
        lay=_setting("credential.https://example.org.helper"), sprung_by=("credential", "fill")
    ),
    "ssh command": Trap(lay=_remote("ssh://host/x", "core.sshCommand"), sprung_by=_PUSH),
    "git proxy": Trap(lay=_remote("git://127.0.0.1/x", "core.gitProxy"), sprung_by=_PUSH),
    "receive-pack": Trap(lay=_remote(".", "remote.origin.receivepack"), sprung_by=_PUSH),
    "ext": Trap(lay=_remote("ext::{}", "", protocol__ext__allow="always"), sprung_by=_PUSH),
    "foreign remote": Trap(
        lay=_remote("{}", "remote.origin.vcs", value="ext", protocol__ext__allow="always"), sprung_by=_PUSH
    ),
    "foreign remote of an innocent address": Trap(lay=_foreign, sprung_by=_PUSH),
    "other address": Trap(
        lay=_remote("https://host/x", "url.ext::{} .insteadOf", value="https://host/", protocol__ext__allow="always"),
        sprung_by=_PUSH,
    ),
    "alternate refs": Trap(lay=_alternate_refs, sprung_by=("rev-list", "--alternate-refs")),
    "trailer": Trap(lay=_setting("trailer.sign.command"), sprung_by=(*_COMMIT, "--trailer", "sign=x")),
    "signing": Trap(lay=_setting("gpg.program", commit__gpgSign="true", log__showSignature="true"), sprung_by=_COMMIT),
    "ssh signing": Trap(lay=_ssh_signing, sprung_by=_COMMIT),
    "lazy fetch": Trap(lay=_lazy_fetch("{folder}"), sprung_by=("diff", "HEAD~1", "HEAD")),
    "lazy fetch over ext": Trap(lay=_lazy_fetch("ext::{program}"), sprung_by=("diff", "HEAD~1", "HEAD")),
    "repository inside": Trap(lay=_submodule(tracked=False), sprung_by=("status",)),
    "submodule": Trap(lay=_submodule(tracked=True), sprung_by=("status",)),
    "submodule that is added": Trap(lay=_submodule(tracked=True), sprung_by=("add", ".")),
}
