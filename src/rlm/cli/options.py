"""The options that commands share, in groups. Settings stay text here: the configuration reads and checks them, so
that a flag, a variable and a file are held to the same rules."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from typer import Option

from rlm.repl import REMOTE, SANDBOXES

if TYPE_CHECKING:
    from rlm.core.config import Loaded

_LABELS = {
    "policy": ("local.policy",),
    "allowed_imports": ("local.allowed_imports",),
    "memory": tuple(f"{name}.memory" for name in (*SANDBOXES, *REMOTE)),
}
"""The settings of options that have another name; `memory` sets that of whichever sandbox is in use."""

Cap: TypeAlias = str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextOptions:
    """The data that the run works on."""

    file: Annotated[
        list[str] | None,
        Option(
            "--file", "-f", metavar="PATH", help="Context: a file, a folder or a quoted glob; repeatable. - is stdin."
        ),
    ] = None
    include: Annotated[
        list[str] | None,
        Option("--include", metavar="GLOB", help="Take only such files, as '*.log'; repeatable."),
    ] = None
    exclude: Annotated[
        list[str] | None,
        Option("--exclude", metavar="GLOB", help="Leave such files out, as a line of .gitignore; repeatable."),
    ] = None
    encoding: Annotated[
        str | None, Option("--encoding", metavar="NAME", help="Encoding of the files. [default: detected]")
    ] = None
    include_binary: Annotated[
        bool, Option("--include-binary", help="Take binary files too, as text with one character per byte.")
    ] = False
    pages: Annotated[
        bool,
        Option("--pages", help='Take each document as {"pages": [...]}: the texts of its pages, sheets or slides.'),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """Where code runs, and what comes out of it."""

    environment: Annotated[
        str | None,
        Option("--environment", "--env", metavar="NAME", help="The sandbox: auto, local, docker, wasm, ssh or e2b."),
    ] = None
    policy: Annotated[
        str | None, Option("--policy", metavar="NAME", help="Policy for cells: strict, relaxed or off. [local]")
    ] = None
    allowed_imports: Annotated[
        list[str] | None,
        Option(
            "--allow-import", metavar="PACKAGE", help="An installed package that cells may import; repeatable. [local]"
        ),
    ] = None
    memory: Annotated[
        str | None, Option("--memory", metavar="SIZE", help="Memory of one REPL above its context, such as 2g.")
    ] = None
    cell_timeout_s: Annotated[
        str | None, Option("--cell-timeout-s", "--cell-timeout", metavar="S", help="Seconds a cell may work.")
    ] = None
    mask: Annotated[
        str | None, Option("--mask", metavar="NAME", help="What is masked in results: secrets, pii (both) or off.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which models, and how they are asked."""

    model: Annotated[
        str | None,
        Option("--model", "-m", metavar="NAME", help="provider/name, such as openai/gpt-5; demo needs no key."),
    ] = None
    sub_model: Annotated[
        str | None, Option("--sub-model", metavar="NAME", help="The model of sub-calls and children.")
    ] = None
    allowed_models: Annotated[
        list[str] | None,
        Option("--allowed-model", metavar="NAME", help="One more model that code may ask for; repeatable."),
    ] = None
    dialect: Annotated[
        str | None, Option("--dialect", metavar="NAME", help="How the model talks: auto, tools or code.")
    ] = None
    temperature: Annotated[
        str | None, Option("--temperature", metavar="T", help="Sampling temperature. [default: the provider's]")
    ] = None
    max_output_tokens: Annotated[
        str | None, Option("--max-output-tokens", metavar="N", help="Output cap of one model call.")
    ] = None
    cite: Annotated[
        bool | None,
        Option("--cite/--no-cite", help="Ask for an answer with its sources, each checked. [default: off]"),
    ] = None
    memoise: Annotated[
        bool | None, Option("--memoise/--no-memoise", help="Ask identical sub-calls of a run only once. [default: on]")
    ] = None
    cache: Annotated[
        bool | None, Option("--cache/--no-cache", help="Keep replies of sub-calls across runs. [default: off]")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetOptions:
    """The caps, over the whole tree; `none` lifts one that may be lifted."""

    token_budget: Annotated[Cap, Option("--token-budget", metavar="N", help="Tokens, input and output.")] = None
    cost_budget_usd: Annotated[Cap, Option("--cost-budget-usd", "--cost-budget", metavar="USD", help="US dollars.")] = (
        None
    )
    timeout_s: Annotated[
        Cap,
        Option("--timeout-s", "--timeout", metavar="S", help="Seconds for the whole run; auto with rlm run."),
    ] = None
    max_turns: Annotated[Cap, Option("--max-turns", metavar="N", help="Model calls of one completion.")] = None
    max_depth: Annotated[Cap, Option("--max-depth", metavar="N", help="Levels of children.")] = None
    subcall_budget: Annotated[Cap, Option("--subcall-budget", metavar="N", help="Sub-calls.")] = None
    tool_budget: Annotated[Cap, Option("--tool-budget", metavar="N", help="Calls of host tools.")] = None
    max_concurrency: Annotated[Cap, Option("--max-concurrency", metavar="N", help="Requests at one time.")] = None
    record_bytes: Annotated[Cap, Option("--record-bytes", metavar="N", help="Size of the record.")] = None
    max_sandboxes: Annotated[Cap, Option("--max-sandboxes", metavar="N", help="REPLs alive at one time.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedWorkOptions:
    """The session and the skills that the run begins with."""

    session: Annotated[
        str | None,
        Option("--session", metavar="NAME", help="Begin with the variables of this session, and leave them in it."),
    ] = None
    skills: Annotated[
        list[str] | None,
        Option("--skill", metavar="NAME", help="A saved skill that code may use, NAME or NAME@VERSION; repeatable."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOptions(SavedWorkOptions):
    """What the run may read, what it goes on with, and where its record goes."""

    allowed_paths: Annotated[
        list[str] | None,
        Option(
            "--allowed-path",
            metavar="PATH",
            help="A file or folder that code may read and edit by helpers, with undo; repeatable. "
            "Only to read: RLM_HELPER_RIGHTS=read.",
        ),
    ] = None
    tables: Annotated[
        list[str] | None,
        Option(
            "--table",
            "-t",
            metavar="FILE",
            help="A file that code may ask by SQL: CSV, TSV, JSON lines, Parquet, SQLite, xlsx, ods; repeatable.",
        ),
    ] = None
    log_dir: Annotated[str | None, Option("--log-dir", metavar="DIR", help="Where the record of the run goes.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """What is shown of the run, and how."""

    output_format: Annotated[
        str, Option("--output-format", "-o", metavar="NAME", help="text, json or stream-json (each event as a line).")
    ] = "text"
    output_schema: Annotated[
        str | None, Option("--output-schema", metavar="FILE", help="A JSON schema that the answer must fit.")
    ] = None
    out: Annotated[str | None, Option("--out", metavar="FILE", help="Where the answer goes, instead of stdout.")] = None
    quiet: Annotated[bool, Option("--quiet", "-q", help="Nothing on stderr but errors.")] = False
    verbose: Annotated[bool, Option("--verbose", "-v", help="A line on stderr for each step.")] = False


LogDir: TypeAlias = Annotated[str | None, Option("--log-dir", metavar="DIR", help="The folder of the records.")]
All: TypeAlias = Annotated[bool, Option("--all", "-a", help="The runs of all projects, not of this one alone.")]


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings given on the command line, by label."""

    values: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, *groups: Any) -> Overrides:
        """The settings that were given in these groups of options."""
        given = ((f.name, getattr(group, f.name)) for group in groups for f in fields(group))
        known = ((name, value) for name, value in given if value not in (None, [], ()))
        return cls({label: value for name, value in known for label in _LABELS.get(name, (name,))})

    def load(self) -> Loaded:
        """The configuration with these settings on top.

        Raises:
            ConfigError: a file, a variable or a flag is wrong.
        """
        from rlm.core.config import Config

        return Config.load(overrides=self.values)
