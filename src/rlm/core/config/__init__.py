"""What can be configured, as one frozen value: the sections of `rlm.toml`, their fields and defaults.

Command line over `RLM_*` environment over project file over user file over defaults.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

from msgspec import Meta, Struct, ValidationError, convert, to_builtins

from rlm.core.budget import Budget
from rlm.core.config.files import find_project_file, read_config_file, user_config_path
from rlm.core.config.layers import Layers, Origin, Schema
from rlm.core.config.trust import GuardedKey, asked_by, require_trust
from rlm.core.exceptions import ConfigError
from rlm.core.fields import (
    AtLeastOne,
    Count,
    MemorySize,
    Name,
    PathText,
    Seconds,
    Share,
    Temperature,
    Usd,
    memory_bytes,
)
from rlm.core.types import Effort  # noqa: TC001 (msgspec reads it at run time)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.config.files import ConfigFile

S = TypeVar("S", bound=Struct)
Policy: TypeAlias = Annotated[
    Literal["strict", "relaxed", "off"], Meta(extra={"from_strongest": ("strict", "relaxed", "off")})
]
Dialect: TypeAlias = Literal["auto", "tools", "code"]
Mask: TypeAlias = Annotated[Literal["secrets", "pii", "off"], Meta(extra={"from_strongest": ("pii", "secrets", "off")})]
HelperRight: TypeAlias = Literal["read", "write", "git", "push", "labels"]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all sections; a docstring under a field is its text in `rlm config show` and `docs/cli.md`."""


class LocalConfig(Section, frozen=True):
    """`[local]`: the confined process on this machine."""

    policy: Policy = "relaxed"
    """The RestrictedPython policy for cells, on top of the operating system's confinement."""
    allowed_imports: tuple[Name, ...] = ()
    """Packages of this Python environment that cells may import besides the built-in list; needs trust."""
    memory: MemorySize = "1g"
    """Memory of one REPL above its context, such as 512m or 1GiB."""
    allow_unconfined: bool = False
    """Run even where the kernel lacks Landlock or seccomp; needs trust."""

    @property
    def memory_bytes(self) -> int:
        return memory_bytes(self.memory)


class DockerConfig(Section, frozen=True):
    """`[docker]`: a hardened container."""

    image: Name = "python:3.11-slim"
    """The image; it needs Python 3.11 or later."""
    cpus: Share = 1.0
    """Processors of one container."""
    memory: MemorySize = "1g"
    """Memory of one REPL above its context, such as 512m or 1GiB."""
    tmp: MemorySize = "64m"
    """Room in /tmp, the only place where code can write; it is memory too."""
    pids: AtLeastOne = 128
    """Processes and threads of one container."""
    runtime: Name | None = None
    """The engine's runtime, such as runsc; none: its default. Needs trust."""
    warm: Count = 1
    """Containers kept started ahead of need; each takes about 40 MB."""
    ttl_s: Seconds = 43_200.0
    """The longest that a container lives, whatever becomes of its host."""

    @property
    def memory_bytes(self) -> int:
        return memory_bytes(self.memory)

    @property
    def tmp_bytes(self) -> int:
        return memory_bytes(self.tmp)


class WasmConfig(Section, frozen=True):
    """`[wasm]`: Python compiled to WebAssembly (Pyodide), in Deno."""

    pyodide_dir: PathText | None = None
    """A folder with the files of the npm package pyodide, for closed networks; none: fetched once. Needs trust."""
    packages: tuple[Name, ...] = ()
    """Packages that cells may import: wheels, or names of which `wheels` has one; with all that they need."""
    wheels: PathText | None = None
    """A folder with wheels, pure or for Pyodide's platform."""
    memory: MemorySize = "1g"
    """Memory of one REPL above its context, such as 512m; with the context at most 4 GiB."""
    warm: Count = 1
    """Sandboxes kept started ahead of need; each takes about 200 MB."""

    @property
    def memory_bytes(self) -> int:
        return memory_bytes(self.memory)


class SshConfig(Section, frozen=True):
    """`[ssh]`: a confined process on a host of yours, by your own ssh. Needs trust."""

    host: Name | None = None
    """The host as your ssh knows it, which must let you in without asking."""
    options: tuple[Name, ...] = ()
    """Options of ssh, each as `Key=Value` of ssh_config(5)."""
    python: Name = "python3"
    """The command of a Python there, 3.11 or later."""
    memory: MemorySize = "1g"
    """Memory of one REPL above its context, such as 512m or 1GiB."""
    warm: Count = 1
    """Sandboxes kept started ahead of need."""
    lease_s: Seconds = 20.0
    """How long the line may keep silent before both ends give it up."""
    allow_unconfined: bool = False
    """Run even where the host's kernel lacks Landlock or seccomp; needs trust."""

    @property
    def memory_bytes(self) -> int:
        return memory_bytes(self.memory)


class E2bConfig(Section, frozen=True):
    """`[e2b]`: a virtual machine that E2B lets, with a key of yours in E2B_API_KEY. Needs trust."""

    template: Name | None = None
    """The template, with Python 3.11 or later; none: E2B's own."""
    python: Name = "python3"
    """The command of its Python."""
    memory: MemorySize = "384m"
    """Memory of one REPL above its context, such as 512m or 1GiB; E2B's own template has 512 MiB for all of a run."""
    warm: Count = 1
    """Sandboxes kept started ahead of need, within the machine."""
    ttl_s: AtLeastOne = 60
    """Seconds that E2B keeps the machine when this process has gone; extended for as long as it lives."""
    lease_s: Seconds = 20.0
    """How long the line may keep silent before both ends give it up."""
    allow_unconfined: bool = False
    """Run even where its kernel lacks Landlock or seccomp, so that the machine alone confines; needs trust."""

    @property
    def memory_bytes(self) -> int:
        return memory_bytes(self.memory)


class ProviderConfig(Section, frozen=True):
    """`[openai]`, `[anthropic]`: a provider's API, or any server that speaks it."""

    base_url: Name | None = None
    """Default: OPENAI_BASE_URL or ANTHROPIC_BASE_URL, else the provider's own; needs trust in a project file."""
    stream: bool = True
    """Have replies sent as they are written, so that a slow model is not taken for a dead one."""
    request_timeout_s: Seconds = 1200.0
    """Of one attempt, to the last byte."""
    first_byte_timeout_s: Seconds = 300.0
    """Until the answer begins; without `stream` that is the whole reply."""
    idle_timeout_s: Seconds = 300.0
    """The longest silence within an answer."""
    max_retries: Count = 4
    """After the first attempt, for passing faults only."""
    prompt_cache: bool = True
    """Mark the parts of a conversation worth caching, where the provider wants marks (Anthropic)."""


class LiteLLMConfig(Section, frozen=True):
    """`[litellm]`: every other provider, over the package litellm."""

    base_url: Name | None = None
    """Passed on as `api_base`; default: litellm's own for the provider. Needs trust in a project file."""
    request_timeout_s: Seconds = 1200.0
    """Of one attempt, to the last byte."""
    max_retries: Count = 4
    """After the first attempt, for passing faults only."""


class McpConfig(Section, frozen=True):
    """`[mcp]`: the server for Claude Code and other hosts, `rlm mcp-serve`."""

    max_sessions: AtLeastOne = 8
    """REPLs that one client may have at one time."""
    session_ttl_s: Seconds = 3600.0
    """A session that nobody used for so long is closed."""
    answer_timeout_s: Seconds = 3600.0
    """How long a cell waits for the host model to answer its queries; then they raise TimeoutError."""
    max_cell_timeout_s: Seconds = 600.0
    """The most that a call of execute_python may ask for as its timeout."""


class ServiceConfig(Section, frozen=True):
    """`[service]`: runs over HTTP, `rlm serve`. Needs trust in a project file."""

    host: Name = "127.0.0.1"
    """The address to listen on; anything but this machine's own needs a proxy with TLS before it."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8378
    """0 is any that is free."""
    allowed_hosts: tuple[Name, ...] = ()
    """Names by which clients reach it, beside those of this machine."""
    max_running: AtLeastOne = 64
    """Runs of one token in progress at one time."""
    max_queued: AtLeastOne = 1_000
    """Runs of one token that wait; beyond, requests are refused."""
    body: MemorySize = "16m"
    """The largest request, but for uploads."""
    read_s: Seconds = 60.0
    """How long the headers of a request may take, or its body, or 64 KiB of an upload."""
    upload_bytes: AtLeastOne = 20_000_000_000
    """What one token may have uploaded, in bytes."""
    upload_ttl_s: Seconds = 86_400.0
    """How long an upload is kept after its last use."""
    context_chars: AtLeastOne = 8_000
    """A longer text in a conversation becomes context, of which the prompt keeps the beginning and the end."""
    drain_s: Seconds = 20.0
    """How long a service that is stopped gives its runs to end; the others are resumed when it is started again."""

    @property
    def body_bytes(self) -> int:
        return memory_bytes(self.body)


class AcpConfig(Section, frozen=True):
    """`[acp]`: sessions of editors, `rlm acp`."""

    context: MemorySize = "256m"
    """The largest workspace that becomes context; code reads a larger one by helpers alone."""

    @property
    def context_bytes(self) -> int:
        return memory_bytes(self.context)


class HooksConfig(Section, frozen=True):
    """`[hooks]`: code of yours that is asked at points of runs and tasks. Needs trust in a project file."""

    use: tuple[Name, ...] = ()
    """Hooks by name: environment, metrics and review ship; entry points `rlm.hooks`; or modules with a dict HOOKS."""
    files: tuple[PathText, ...] = ()
    """Python files with a dict HOOKS, such as {"pre_tool": [function]}."""
    approve: tuple[Name, ...] = ()
    """Tools that somebody has to allow each time they are called, by name or pattern, such as git_push or fs.*."""
    timeout_s: Seconds = 10.0
    """How long one hook may take; one that takes longer has said no."""


class ClaudeCliConfig(Section, frozen=True):
    """`[claude_cli]`: the installed `claude`, with its own login."""

    command: Name = "claude"
    """The program, by name or path; needs trust in a project file."""
    processes: AtLeastOne = 4
    """Processes at one time, each with one call; one takes about 190 MB."""
    environment: tuple[Name, ...] = ()
    """Variables that it gets besides its own, such as ANTHROPIC_API_KEY; needs trust in a project file."""
    request_timeout_s: Seconds = 1200.0
    """Of one attempt, to its end."""
    idle_timeout_s: Seconds = 300.0
    """The longest silence within an attempt."""
    max_retries: Count = 4
    """After the first attempt, for passing faults only."""


class CommandConfig(Section, frozen=True):
    """`[cli.NAME]`: a command that takes a prompt on stdin and answers on stdout, as model `cli/NAME`. Needs trust."""

    command: Annotated[tuple[Name, ...], Meta(min_length=1)]
    """The program and its arguments; no shell."""
    environment: tuple[Name, ...] = ()
    """Variables that it gets besides PATH, HOME and the locale."""
    request_timeout_s: Seconds = 600.0
    """Until it has answered and ended."""
    output: MemorySize = "4m"
    """The most that it may answer."""


class McpServerConfig(Section, frozen=True):
    """`[mcp_servers.NAME]`: an MCP server whose tools the model may call, as `NAME__tool`. Needs trust."""

    command: tuple[Name, ...] = ()
    """The program and its arguments, for a server that is started here; no shell."""
    env: dict[str, str] = {}
    """Variables of its environment, besides PATH, HOME and the like."""
    env_from: tuple[Name, ...] = ()
    """Variables that it gets as they are here: keys belong there, not in a file."""
    url: Name | None = None
    """The address of a server that runs elsewhere; https, but on this machine."""
    headers_from: dict[str, str] = {}
    """Headers of requests to it, each with the name of the variable that holds its value."""
    login: bool = False
    """Send the token that `rlm mcp login NAME` has fetched."""
    token_file: Name = "~/.snipara/tokens.json"  # noqa: S105 - a path
    """Where that token is kept; no one else may be able to read it."""
    client_id: Name = "rlm-runtime"
    """By which the login service knows this program."""
    tools: tuple[Name, ...] | None = None
    """Those that may be called, by the server's own names; none given: all."""
    start_timeout_s: Seconds = 20.0
    """Until it has said which tools it has."""
    timeout_s: Seconds = 60.0
    """Of one call."""
    output_chars: AtLeastOne = 100_000
    """The most of a result that is kept."""
    labels: bool = False
    """Let tools that write files be given labels such as [REDACTED_API_KEY], which would overwrite secrets there."""


class PriceConfig(Section, frozen=True):
    """`[prices."provider/name"]`: US dollars per million tokens."""

    input_usd: Usd
    output_usd: Usd
    cached_usd: Usd | None = None
    """Of input served from the provider's cache; none: as other input."""
    cache_write_usd: Usd | None = None
    """Of input written to that cache; none: as other input."""


class Config(Section, frozen=True):
    """Everything that shapes a run. `[rlm]` holds the fields of `Budget` beside its own."""

    model: Name | None = None
    """`provider/name`; none: the first provider whose key is there. A provider that a plug-in adds needs trust."""
    sub_model: Name | None = None
    """The model of `llm_query` and of children; none: the same model."""
    allowed_models: tuple[Name, ...] = ()
    """What guest code may ask for by `model=`, besides the model and the sub-model."""
    environment: Name = "auto"
    """The sandbox: auto (the first of local, wasm and docker that works here, named when it is chosen), one of those
    three, ssh or e2b, or one that a plug-in adds; the last three need trust."""
    dialect: Dialect = "auto"
    """How the model talks: native tool calls, fenced code, or what the model is known to do."""
    budget: Budget = Budget()
    """The caps; in `[rlm]` each stands by its own name."""
    max_sandboxes: AtLeastOne = 32
    """REPLs alive at one time in a run; a child that finds none free runs as a plain call."""
    max_output_tokens: AtLeastOne = 8192
    """The output cap of one model call."""
    subcall_input_tokens: AtLeastOne | None = None
    """The most tokens, by estimate, that the prompt of one sub-call may have; none: what its model's window holds."""
    temperature: Temperature | None = None
    """None: the provider's default."""
    reasoning_effort: Effort | None = None
    """How much models should reason before they answer, where they can be told; none: as they do by themselves."""
    advice: bool = True
    """Tell the model, once each, what goes wrong that it can mend: a sub-call without data, an answer that nothing
    shows, the same error again; see docs/models.md."""
    cite: bool = False
    """Ask for answers with the words of the data that they rest on, each checked; see docs/citations.md."""
    memoise: bool = True
    """Answer identical sub-calls of a run once: the same model, prompt and options."""
    cache: bool = False
    """Keep replies of sub-calls across runs, in the user's cache folder."""
    cell_timeout_s: Seconds = 60.0
    """Wall time of a cell without the time it waits for calls, and CPU time of its sandbox."""
    cell_output_chars: AtLeastOne = 10_000
    """How much of a cell's output the model sees; 1 MB is kept in the record."""
    log_dir: PathText | None = None
    """The folder of the records of runs, relative to the project file that sets it, else to the working directory;
    none: one for each project in the user's state folder, below `~/.local/state/rlm/runs`."""
    allowed_paths: tuple[PathText, ...] = ()
    """Folders and files that the file tools may read and the helpers in cells read and edit; none: neither is offered.
    To have them read alone: `helper_rights = ["read"]`. Needs trust."""
    tables: tuple[PathText, ...] = ()
    """Files of rows that cells may ask by SQL, as `tables.sql(query)`: CSV, TSV, JSON lines, Parquet, SQLite, xlsx and
    ods. Needs trust."""
    helper_rights: tuple[HelperRight, ...] = ("read", "write")
    """What the helpers `fs`, `code`, `transform` and `git` may do in allowed_paths: read, write (files, with undo), git
    (stage, commit, branch), push, labels (write those of masked secrets, see docs/helpers.md). Needs trust."""
    mask: Mask = "secrets"
    """What is masked in what models see of results, in the record and in answers; pii: personal data too."""
    guest_tools: tuple[Name, ...] | None = None
    """Tools that guest code may call as functions; none given: those that only read. Needs trust."""
    session: Name | None = None
    """The session whose variables the REPL begins with and leaves behind, made at first use. Needs trust."""
    skills: tuple[Name, ...] = ()
    """Saved skills that runs are offered, each `NAME` or `NAME@VERSION`."""
    store_path: PathText | None = None
    """The file of sessions and skills; none: the user's own. Needs trust."""
    local: LocalConfig = LocalConfig()
    docker: DockerConfig = DockerConfig()
    wasm: WasmConfig = WasmConfig()
    ssh: SshConfig = SshConfig()
    e2b: E2bConfig = E2bConfig()
    openai: ProviderConfig = ProviderConfig()
    anthropic: ProviderConfig = ProviderConfig()
    litellm: LiteLLMConfig = LiteLLMConfig()
    claude_cli: ClaudeCliConfig = ClaudeCliConfig()
    cli: dict[str, CommandConfig] = {}
    """`[cli.NAME]`: commands that are models. Needs trust."""
    mcp: McpConfig = McpConfig()
    mcp_servers: dict[str, McpServerConfig] = {}
    """`[mcp_servers.NAME]`: servers whose tools join the run. Needs trust."""
    hooks: HooksConfig = HooksConfig()
    service: ServiceConfig = ServiceConfig()
    acp: AcpConfig = AcpConfig()
    plugins: dict[str, dict[str, Any]] = {}
    """`[plugins.NAME]`: the settings of a plug-in, a sandbox or a backend that another package adds. Needs trust."""
    prices: dict[str, PriceConfig] = {}
    """`[prices."provider/name"]`: what models cost that the backend has no price for."""

    def plugin(self, name: str, kind: type[S]) -> S:
        """The settings of a plug-in, `[plugins.NAME]`, as its own Struct.

        Raises:
            ConfigError: they don't fit it.
        """
        try:
            return convert(self.plugins.get(name, {}), kind)
        except ValidationError as error:
            raise ConfigError(f"[plugins.{name}]: {error}") from error

    @classmethod
    def load(
        cls,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Loaded:
        """Read every layer, for this process's working directory and environment where none is given.

        `overrides` are values by name, `model` or `local.policy`; text is read as the environment's is. Raises:
            UntrustedConfigError: the project file sets what only a trusted one may set.
            ConfigError: a file, a variable or an override is wrong; says which, where and what is wanted.
        """
        environ = os.environ if environ is None else environ
        user, project = config_paths(cwd or Path.cwd(), environ)
        layers = Layers(SCHEMA, home=environ.get("HOME", ""))
        if user is not None:
            layers.add_file(read_config_file(user), "user")
        if project is not None:
            file = read_config_file(project)
            require_trust(file, asked_by(file, layers), environ)
            layers.add_file(file, "project")
        layers.add_environ(environ)
        layers.add_overrides(overrides or {})
        return _loaded(layers, tuple(path for path in (project, user) if path is not None))


SCHEMA = Schema(Config, inline="budget")
"""Every key that there is."""


def checked(config: Config) -> Config:
    """The configuration with every value held to its type and range; amounts may be text with a unit.

    Raises:
        ConfigError: a value doesn't fit; names the setting, and what it takes.
    """
    values = to_builtins(config)
    try:
        return convert(values, Config)
    except ValidationError as error:
        layers = Layers(SCHEMA)
        for key in SCHEMA:
            if not key.table:
                layers.check(key, values[key.name] if key.home == key.name else values[key.home][key.name])
        tables = {key.home: values[key.home] for key in SCHEMA if key.table}
        try:
            return convert({**to_builtins(SCHEMA.build(layers.settings.values())), **tables}, Config)
        except ValidationError:
            raise ConfigError(f"a setting is wrong: {error}") from error


def asked_of_user(file: ConfigFile, environ: Mapping[str, str]) -> list[GuardedKey]:
    """All in a project file that needs the trust of the user whose environment this is.

    Raises:
        ConfigError: the user's own file is wrong.
    """
    return asked_by(file, user_layers(environ))


def user_layers(environ: Mapping[str, str]) -> Layers[Config]:
    """What the user's own configuration sets.

    Raises:
        ConfigError: the user's own file is wrong.
    """
    path, layers = user_config_path(environ), Layers(SCHEMA, home=environ.get("HOME", ""))
    if path is not None and os.path.lexists(path):
        layers.add_file(read_config_file(path), "user")
    return layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration, and where it came from."""

    config: Config
    origins: Mapping[str, Origin]
    """Of every key, by its name with the section: `rlm.model`, `local.policy`, `prices.openai/gpt-5`."""
    warnings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    """The files that were read, the strongest first."""


def config_paths(cwd: Path, environ: Mapping[str, str]) -> tuple[Path | None, Path | None]:
    """The user's file and the project's, each None if it isn't there."""
    user, project = user_config_path(environ), find_project_file(cwd.absolute())
    return (user if user is not None and os.path.lexists(user) else None), project


def _loaded(layers: Layers[Config], files: tuple[Path, ...]) -> Loaded:
    origins = {key.label: Origin() for key in SCHEMA if not key.table}
    origins.update((label, setting.origin) for label, setting in layers.settings.items())
    config = SCHEMA.build(layers.settings.values())
    return Loaded(config=config, origins=origins, warnings=tuple(layers.warnings), files=files)
