"""Skills for Python on the host: saved once their test has passed in a sandbox, listed, loaded, called.

The code of a skill is hostile here: it runs in sandboxes only, calling one included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from rlm.core.config import Config
from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.types import ReplSpec
from rlm.repl.guest.carry.carrier import taking
from rlm.repl.guest.carry.forms import CannotCarry, to_text
from rlm.repl.guest.carry.skills import LOAD
from rlm.runtime.bare_repl import bare_repl
from rlm.runtime.loop_thread import LoopThread
from rlm.secrets import masker
from rlm.skills.store import Skill, check, parse_reference
from rlm.skills.tool import loading_tool, skill_store

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from rlm.core.types import ExecResult, Json

T = TypeVar("T")
E = TypeVar("E", bound=Exception)
_MAX_REQUIRED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSkill:
    """A saved skill; calling it runs its main function in a sandbox of its own."""

    skill: Skill
    config: Config

    def __repr__(self) -> str:
        return f"<skill {self.skill.name}@{self.skill.version}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns, as a JSON value. Raises:
        ConfigError: an argument can't be given to a sandbox.
        ToolError: the skill failed; says how.
        SandboxUnavailableError: the sandbox can't run here.
        """
        name = self.skill.name
        try:
            given = {"given": to_text(list(args)), "named": to_text(kwargs)}
        except CannotCarry as error:
            raise ConfigError(f"skill {name!r}: an argument can't be given to a sandbox: {error}") from error
        cells = (*taking(given), f"FINAL({LOAD}({name!r})(*given, **named))")
        *_, result = _waited(_tried(self.skill, cells, self.config)).results
        if result.error is not None or result.final is None:
            raise _with_trace(ToolError(f"skill {name!r} failed: {_why(result)}"), result)
        return result.final.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The results of cells in a sandbox."""

    environment: str
    results: tuple[ExecResult, ...]


def save_skill(
    name: str,
    code: str,
    description: str,
    *,
    test: str = "",
    environment: str | None = None,
    config: Config | None = None,
) -> Skill:
    """Save code as the next version of a skill, once it and its test have run without an error in a sandbox.

    `test` is Python in which the skill is the variable `name`: `assert name(...) == ...`. Secrets are masked first, and
    what runs is what is saved. Raises:
        ConfigError: the name is not allowed, a part is missing, or the test failed; nothing is saved. The traceback of
            the skill is a note of the error, for those that run it too.
        SandboxUnavailableError: the sandbox can't run here.
        StoreError: it can't be saved.
    """
    config = _settled(config, environment)
    skill = Skill(name=name, description=description, code=code, test=test)
    check(skill)
    masking = masker(config.mask)
    if masking is not None:
        masked = {part: masking.mask(getattr(skill, part)) for part in ("description", "code", "test")}
        skill = msgspec.structs.replace(skill, **masked)
    return skill_store(config).save(_proved(skill, config))


def load_skill(name: str, version: int | None = None, *, config: Config | None = None) -> LoadedSkill:
    """A saved skill, in its latest or the given version; `name` may be `NAME@VERSION`.

    Raises:
        ConfigError: there is no such skill or version.
        StoreError: the store can't be used.
    """
    config = _settled(config, None)
    given, at = parse_reference(name)
    if version is not None and at is not None and version != at:
        raise ConfigError(f"{name} is one version, and version={version} another: name one of them")
    return LoadedSkill(skill=skill_store(config).load(given, at if version is None else version), config=config)


def list_skills(*, config: Config | None = None) -> list[Skill]:
    """The latest version of every skill, by name.

    Raises:
        StoreError: the store can't be used.
    """
    return skill_store(_settled(config, None)).all()


def prove_skill(skill: Skill, *, environment: str | None = None, config: Config | None = None) -> None:
    """Run a skill and its test in a sandbox.

    Raises:
        ConfigError: the skill or its test failed; says how.
        SandboxUnavailableError: the sandbox can't run here.
    """
    _proved(skill, _settled(config, environment))


def _proved(skill: Skill, config: Config) -> Skill:
    """The skill with the names of the modules that it imports, and of the sandbox in which its test ran."""
    loading = f"{skill.name} = {LOAD}({skill.name!r})\nFINAL({skill.name}.requires)"
    cells = (loading, skill.test) if skill.test.strip() else (loading,)
    trial = _waited(_tried(skill, cells, config))
    for part, result in zip(("code", "test"), trial.results, strict=False):
        if result.error is not None:
            failed = f"the {part} of skill {skill.name!r} failed in {trial.environment}: {_why(result)}"
            raise _with_trace(ConfigError(failed), result)
    final = trial.results[0].final
    requires = _modules(None if final is None else final.value)
    return msgspec.structs.replace(skill, requires=requires, tested_in=trial.environment)


def _modules(value: Json) -> list[str]:
    """The names of modules in what a guest says, which may be anything."""
    names = value if isinstance(value, list) else []
    return [name for name in names[:_MAX_REQUIRED] if isinstance(name, str) and name.replace(".", "").isidentifier()]


async def _tried(skill: Skill, cells: Sequence[str], config: Config) -> Trial:
    """Run cells in a REPL of their own that can load this skill and nothing else; the first that fails is the last."""
    tool = loading_tool([skill])

    async def call(name: str, args: tuple[Json, ...], kwargs: Mapping[str, Json]) -> Json:
        if name != LOAD:
            raise LookupError(f"{name} is not here")
        return await tool.call({**dict(zip(("name",), args, strict=False)), **kwargs})

    results: list[ExecResult] = []
    async with bare_repl(config, spec=ReplSpec(call=call, functions=(LOAD,))) as opened:
        for cell in cells:
            results.append(await opened.repl.execute(cell))
            if results[-1].error is not None:
                break
    return Trial(environment=opened.choice.environment, results=tuple(results))


def _why(result: ExecResult) -> str:
    """Why a cell gave no value, on one line; the rest is in the traceback."""
    error = result.error
    if error is None:
        return "it gave no value"
    lines = error.message.splitlines() or [""]
    return f"{error.kind}: {lines[0]}" if lines[0] else error.kind


def _with_trace(error: E, result: ExecResult) -> E:
    """`error` with the traceback of the skill as its note, which Python shows below it."""
    if result.error is not None and result.error.traceback and result.status == "error":
        error.add_note(result.error.traceback.strip())
    return error


def _settled(config: Config | None, environment: str | None) -> Config:
    config = Config.load().config if config is None else config
    if environment is None:
        return config
    changed = msgspec.to_builtins(msgspec.structs.replace(config, environment=environment))
    try:
        return msgspec.convert(changed, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"environment: {error}") from error


def _waited(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, also where the caller is in an event loop already, as in a notebook."""
    loop = LoopThread()
    try:
        return loop.submit(work).result()
    finally:
        loop.stop()
