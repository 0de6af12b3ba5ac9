"""`rlm skill`: save code that worked, look at it, test it, delete it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from typer import Argument, Option

from rlm.cli.options import Overrides, SandboxOptions

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.skills.store import Skill

Reference: TypeAlias = Annotated[str, Argument(metavar="NAME", help="The skill, NAME or NAME@VERSION.")]
Json: TypeAlias = Annotated[bool, Option("--json", help="As JSON.")]
_DESCRIPTION_CHARS = 200


def save(
    name: Annotated[
        str, Argument(metavar="NAME", help="Lower-case letters, digits and _; code calls it by this name.")
    ],
    description: Annotated[
        str, Option("--description", "-d", metavar="TEXT", help="What it does; models choose skills by it.")
    ],
    sandbox: SandboxOptions,
    script: Annotated[str | None, Argument(metavar="[SCRIPT]", help="A file of Python; - is stdin.")] = None,
    code: Annotated[str | None, Option("--code", "-c", metavar="CODE", help="The Python, instead of a file.")] = None,
    test: Annotated[
        str | None,
        Option("--test", "-t", metavar="FILE", help="A file of Python that must pass; NAME is the skill there."),
    ] = None,
) -> int:
    """Save Python as the next version of a skill, once it and its test have run in the sandbox.

    Calling the skill calls its function of the same name, or its only one. Secrets in it are masked before it runs.
    """
    from rlm.cli.commands.execute import read_source
    from rlm.cli.console import say
    from rlm.cli.saved import traces_shown
    from rlm.runtime.skills import save_skill

    source, _ = read_source(script, code)
    tested, _ = read_source(test, None) if test is not None else ("", False)
    with traces_shown():
        saved = save_skill(name, source, description, test=tested, config=_config(sandbox))
    if (saved.code, saved.test, saved.description) != (source, tested, description):
        say("secrets in it were masked: rlm skill show shows it as it was saved")
    say(f"skill {name}: version {saved.version}{_needs(saved)}{'' if tested else ' (it has no test)'}")
    return 0


def list_skills(as_json: Json = False) -> int:
    """List the skills, each in its latest version."""
    import msgspec

    from rlm.cli.console import answer, say
    from rlm.cli.moments import local_time
    from rlm.core.plain import one_line
    from rlm.runtime.skills import list_skills

    found = list_skills(config=_config())
    if as_json:
        answer(msgspec.json.encode(found).decode())
        return 0
    if not found:
        say("there are no skills yet: rlm skill save saves one")
    for skill in found:
        about = one_line(skill.description, _DESCRIPTION_CHARS)
        answer(f"{skill.name}@{skill.version}  {local_time(skill.saved_at)}  {about}")
    return 0


def show(reference: Reference, as_json: Json = False) -> int:
    """Show a skill as it was saved: description, code, test. Nothing is run."""
    import msgspec

    from rlm.cli.console import answer
    from rlm.cli.moments import local_time
    from rlm.core.plain import one_line, plain

    skill = _loaded(reference, _config())
    if as_json:
        answer(msgspec.json.encode(skill).decode())
        return 0
    about = one_line(skill.description, 2 * _DESCRIPTION_CHARS)
    saved_at = local_time(skill.saved_at)
    answer(f"# {skill.name}@{skill.version}, {saved_at}, ran in {skill.tested_in}{_needs(skill)}\n# {about}")
    answer(plain(skill.code))
    if skill.test:
        answer(f"# test\n{plain(skill.test)}")
    return 0


def test(reference: Reference, sandbox: SandboxOptions) -> int:
    """Run a skill and its test in the sandbox; exit code 2 if it fails there."""
    from rlm.cli.console import say
    from rlm.cli.saved import traces_shown
    from rlm.runtime.skills import prove_skill

    config = _config(sandbox)
    skill = _loaded(reference, config)
    with traces_shown():
        prove_skill(skill, config=config)
    what = "and its test pass" if skill.test else "runs (it has no test)"
    say(f"skill {skill.name}@{skill.version} {what} in {config.environment}")
    return 0


def delete(
    reference: Annotated[str, Argument(metavar="NAME", help="The skill with all its versions, or NAME@VERSION.")],
    yes: Annotated[bool, Option("--yes", "-y", help="Don't ask.")] = False,
) -> int:
    """Delete a skill with all its versions, or one version."""
    from rlm.cli.console import say
    from rlm.cli.saved import confirmed
    from rlm.skills.store import parse_reference
    from rlm.skills.tool import skill_store

    config = _config()
    name, version = parse_reference(reference)
    skill_store(config).load(name, version)
    what = f"skill {name}, all versions" if version is None else f"version {version} of skill {name}"
    if not confirmed(f"delete {what}?", yes=yes):
        say("nothing was changed")
        return 1
    skill_store(config).delete(name, version)
    say(f"{what}: deleted")
    return 0


def _config(*groups: Any) -> Config:
    from rlm.cli.console import warn

    loaded = Overrides.of(*groups).load()
    for warning in loaded.warnings:
        warn(warning)
    return loaded.config


def _loaded(reference: str, config: Config) -> Skill:
    from rlm.runtime.skills import load_skill

    return load_skill(reference, config=config).skill


def _needs(skill: Skill) -> str:
    return f", imports {', '.join(skill.requires)}" if skill.requires else ""
