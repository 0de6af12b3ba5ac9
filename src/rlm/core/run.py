"""What the completions of one run share, and what one completion is asked. Values only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from rlm.core.children import Children
from rlm.core.outcome import Outcome

if TYPE_CHECKING:
    import asyncio

    from rlm.core.clock import RunClock
    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.interfaces import Backend, Helpers, Hooks, Masker, Sandbox, Toolbox, Validator
    from rlm.core.memo import Memo
    from rlm.core.record.recorder import Recorder
    from rlm.core.replay.scope import Scope
    from rlm.core.slots import SandboxSlots
    from rlm.core.types import Image, Json, ModelTraits, Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model and the way to it."""

    label: str
    """`provider/name`, as people write it."""
    name: str
    """The name within the backend."""
    backend: Backend
    traits: ModelTraits
    price: Price | None
    """The configured price, else the backend's; None where unknown."""
    origin: str = ""
    """The address its backend was told to use: the same name elsewhere is another model."""

    @property
    def native_tools(self) -> bool:
        """Whether it takes tool calls, as far as its backend knows by now: a server may have refused them since."""
        return self.traits.native_tools and self.backend.traits(self.name).native_tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The parts that all completions of one run share."""

    config: Config
    recorder: Recorder
    find_model: Callable[[str | None], Model]
    """The model of that name if it is allowed (None: the sub-model); raises ConfigError."""
    sandbox: Sandbox
    tools: Toolbox
    guest_tools: tuple[str, ...]
    """Names of the tools that guest code may call."""
    validator_for: Callable[[Any], Awaitable[Validator | None]]
    make_context: Callable[[Json], Context]
    """Prepares a value that guest code gave to a child; blocks while it spools."""
    helpers: Helpers | None
    """What guest code may call as `fs.glob` and the like; None without a workspace."""
    save_artifact: Callable[[str, bytes], str]
    """Keeps a file beside the trajectory and returns its name there; raises ToolError."""
    requests: asyncio.Semaphore
    """One place for each request that may be under way."""
    slots: SandboxSlots
    masker: Masker | None = None
    """Masks what models see of cells and tools; None where nothing is masked."""
    kept_names: tuple[str, ...] = ()
    """Variables that the root's REPL has from its session."""
    hooks: Hooks | None = None
    """What is asked before things go on; None where nothing is."""
    memo: Memo | None = None
    """Answers identical sub-calls; None where each is to be made."""
    children: Children = field(default_factory=Children)
    """The children that are in progress."""
    closing: set[asyncio.Future[None]] = field(default_factory=set)
    """REPLs that take longer to close than their completions wait for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one completion is asked."""

    prompt: str
    context: Context
    model: Model
    scope: Scope
    """The span and the ledger of the completion, and how what it asks is answered."""
    clock: RunClock
    """The time of the whole run; a child ends with its parent."""
    validator: Validator | None = None
    images: tuple[Image, ...] = ()
    key: str | None = None
    """The key of a child, in the cell that asked; None for the root."""

    @property
    def is_root(self) -> bool:
        """Whether it is the run's own, not a child's."""
        return self.scope.ledger.parent is None


Complete: TypeAlias = Callable[[Task], Awaitable[Outcome]]
"""The orchestrator's own `complete`, handed to what starts children."""
