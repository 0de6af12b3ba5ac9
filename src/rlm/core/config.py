"""What can be configured, as one frozen value: the sections of `rlm.toml`, their fields and defaults."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from rlm.core.budget import Budget

Policy: TypeAlias = Literal["strict", "relaxed", "off"]
Dialect: TypeAlias = Literal["auto", "tools", "code"]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all sections; a docstring under a field is its text in `rlm config show` and `docs/cli.md`."""


class LocalConfig(Section, frozen=True):
    """`[local]`: the confined process on this machine."""

    policy: Policy = "relaxed"
    """The RestrictedPython policy for cells, on top of the operating system's confinement."""
    allowed_imports: tuple[str, ...] = ()
    """Packages of this Python environment that cells may import besides the built-in list; needs trust."""
    memory: str = "1g"
    """Memory of one REPL above its context."""
    allow_unconfined: bool = False
    """Run even where the kernel lacks Landlock or seccomp; needs trust."""


class DockerConfig(Section, frozen=True):
    """`[docker]`: a hardened container."""

    image: str = "python:3.11-slim"
    cpus: float = 1.0
    memory: str = "1g"


class OpenAIConfig(Section, frozen=True):
    """`[openai]`: the OpenAI API, or any server that speaks it."""

    base_url: str | None = None
    """Default: OPENAI_BASE_URL, else OpenAI's own; needs trust in a project file."""
    request_timeout_s: float = 300.0
    """Of one attempt, to the last byte."""
    max_retries: int = 4
    """After the first attempt, for passing faults only."""


class PriceConfig(Section, frozen=True):
    """`[prices."provider/name"]`: US dollars per million tokens."""

    input_usd: float
    output_usd: float
    cached_usd: float | None = None


class Config(Section, frozen=True):
    """Everything that shapes a run. `[rlm]` holds the fields of `Budget` beside its own."""

    model: str | None = None
    """`provider/name`; none: the first provider whose key is there."""
    sub_model: str | None = None
    """The model of `llm_query` and of children; none: the same model."""
    allowed_models: tuple[str, ...] = ()
    """What guest code may ask for by `model=`, besides the model and the sub-model."""
    environment: Literal["local", "docker", "wasm"] = "local"
    """The sandbox."""
    dialect: Dialect = "auto"
    """How the model talks: native tool calls, fenced code, or what the model is known to do."""
    budget: Budget = Budget()
    max_sandboxes: int = 32
    """REPLs alive at one time in a run; a child that finds none free runs as a plain call."""
    max_output_tokens: int = 8192
    """The output cap of one model call."""
    temperature: float | None = None
    """None: the provider's default."""
    cell_timeout_s: float = 60.0
    """Wall time of a cell without the time it waits for calls, and CPU time of its sandbox."""
    cell_output_chars: int = 10_000
    """How much of a cell's output the model sees; 1 MB is kept in the record."""
    log_dir: str = "logs"
    """Where trajectories go, relative to the working directory."""
    allowed_paths: tuple[str, ...] = ()
    """Folders and files that the file tools may read; none: those tools are not offered. Needs trust."""
    guest_tools: tuple[str, ...] | None = None
    """Tools that guest code may call as functions; none given: those that only read."""
    local: LocalConfig = LocalConfig()
    docker: DockerConfig = DockerConfig()
    openai: OpenAIConfig = OpenAIConfig()
    prices: dict[str, PriceConfig] = {}
