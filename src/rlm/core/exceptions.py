"""The error tree of the runtime, whole.

::

    RLMError
    ├── ConfigError                 usage or configuration            exit 2
    │   └── UntrustedConfigError    a project file asks for power     exit 2
    ├── LimitReached                a cap of the budget               exit 3
    │   ├── MaxDepthExceeded
    │   ├── TurnLimitReached
    │   ├── TokenBudgetExhausted
    │   ├── CostBudgetExhausted
    │   ├── SharedBudgetExhausted   a cap over many runs together
    │   ├── ToolBudgetExhausted
    │   ├── SubcallBudgetExhausted
    │   ├── SubcallInputTooLarge    one sub-call's prompt, not all
    │   ├── TimeLimitReached
    │   ├── RecordLimitReached
    │   └── NoProgress              the model goes in circles
    ├── BackendError                a model provider                  exit 4
    │   ├── BackendConnectionError  unreachable, dropped, timed out
    │   ├── AuthenticationError     key missing or refused
    │   ├── RateLimitError          429 after all retries
    │   ├── QuotaExhaustedError     the account's credit is used up
    │   ├── ContextOverflowError    the request exceeds the window
    │   ├── BadRequestError         the provider refuses the request
    │   │   └── ToolsRefusedError   because it has tools
    │   └── BadReplyError           the reply breaks the wire
    ├── REPLError                   a sandbox                         exit 5
    │   ├── SandboxUnavailableError it cannot be started here
    │   ├── REPLSecurityError       a frame broke the wire's rules
    │   └── REPLExecutionError      a cell could not be run at all
    ├── ToolError                   a tool refused or failed          exit 1
    │   └── ToolNotFoundError
    ├── OutputValidationError       the value does not fit output_type exit 1
    ├── RecordError                 the trajectory cannot be written  exit 1
    ├── StoreError                  sessions or skills can't be kept  exit 1
    ├── ResumeError                 the record can't be followed on   exit 1
    │   ├── Diverged                the run does something else now
    │   └── UnfinishedCall          a tool call may have had effects
    ├── HookDenied                  a hook of the user's said no      exit 1
    ├── QueueFullError              an engine takes no more just now  exit 1
    └── RunFailed                   a run ended without an answer     exit 1

An error in code that the model wrote is none of these: it is data, `ExecResult.error`.
Constructors store fields and do nothing else. `exit_code` is what `rlm` exits with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from rlm.core.types import TokenUsage

__all__ = [
    "AuthenticationError",
    "BackendConnectionError",
    "BackendError",
    "BadReplyError",
    "BadRequestError",
    "ConfigError",
    "ContextOverflowError",
    "CostBudgetExhausted",
    "Diverged",
    "HookDenied",
    "LimitReached",
    "MaxDepthExceeded",
    "NoProgress",
    "OutputValidationError",
    "QueueFullError",
    "QuotaExhaustedError",
    "REPLError",
    "REPLExecutionError",
    "REPLSecurityError",
    "RLMError",
    "RateLimitError",
    "RecordError",
    "RecordLimitReached",
    "ResumeError",
    "RunFailed",
    "SandboxUnavailableError",
    "SharedBudgetExhausted",
    "StoreError",
    "SubcallBudgetExhausted",
    "SubcallInputTooLarge",
    "TimeLimitReached",
    "TokenBudgetExhausted",
    "ToolBudgetExhausted",
    "ToolError",
    "ToolNotFoundError",
    "ToolsRefusedError",
    "TurnLimitReached",
    "UnfinishedCall",
    "UntrustedConfigError",
]


LOST_BY_GATEWAY = frozenset({502, 504, 520, 524})
"""The statuses with which a gateway says that it lost the server behind it, which may have the request and go on."""


class RLMError(Exception):
    """The base of everything this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigError(RLMError):
    """What was asked for is not possible as asked: an option, a file, a key, a missing extra."""

    exit_code = 2


class UntrustedConfigError(ConfigError):
    """A project file sets what only a trusted one may set; `rlm trust` allows it."""


class LimitReached(RLMError):
    """A cap of the budget was reached; `limit` is the cap's name in `Budget`."""

    exit_code = 3
    limit: ClassVar[str] = ""


class MaxDepthExceeded(LimitReached):
    """A child completion would be deeper than `max_depth`."""

    limit = "max_depth"


class TurnLimitReached(LimitReached):
    """A completion used its `max_turns`."""

    limit = "max_turns"


class TokenBudgetExhausted(LimitReached):
    """The next call's worst case does not fit `token_budget`."""

    limit = "token_budget"


class CostBudgetExhausted(LimitReached):
    """The next call's worst case does not fit `cost_budget_usd`."""

    limit = "cost_budget_usd"


class SharedBudgetExhausted(LimitReached):
    """The next call's worst case does not fit what is left for all runs of a batch together; the run can be resumed."""

    limit = "shared_budget"


class ToolBudgetExhausted(LimitReached):
    """`tool_budget` tool calls were made."""

    limit = "tool_budget"


class SubcallBudgetExhausted(LimitReached):
    """`subcall_budget` sub-calls were made."""

    limit = "subcall_budget"


class SubcallInputTooLarge(LimitReached):
    """The prompt of one sub-call is above `subcall_input_tokens`, or beyond its model's window; smaller ones may go."""

    limit = "subcall_input_tokens"


class TimeLimitReached(LimitReached):
    """The completion's `timeout_s` passed."""

    limit = "timeout_s"


class RecordLimitReached(LimitReached):
    """The record has `record_bytes`."""

    limit = "record_bytes"


class NoProgress(LimitReached):
    """The model says the same again and again, or nothing that can be followed: more turns would only cost."""

    limit = "no_progress"


class BackendError(RLMError):
    """A model call failed. `retryable` says whether the same call may succeed later.

    What a failed attempt costs is what the provider may bill for it: nothing where it refused the request or never had
    it, else `usage`, or the most that it can have been where nobody knows.
    """

    exit_code = 4
    retryable: ClassVar[bool] = False
    refusal: ClassVar[bool] = False
    """The provider refused the request before it wrote anything."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        status: int | None = None,
        billed: bool | None = None,
        usage: TokenUsage | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """Seconds the provider asked to wait, if it did."""
        self.status = status
        """The HTTP status, if there was one."""
        self.billed: bool = not self._is_refusal if billed is None else billed
        """Whether the provider may bill the attempt; by default as the class and the status say."""
        self.usage = usage
        """What the provider says that it bills, if it may; None where it didn't say."""

    @property
    def _is_refusal(self) -> bool:
        return self.refusal or (self.status is not None and self.status >= 300 and self.status not in LOST_BY_GATEWAY)


class BackendConnectionError(BackendError):
    """The provider could not be reached, dropped the connection, timed out, or failed by itself (5xx)."""

    retryable = True


class AuthenticationError(BackendError):
    """The key is missing, refused, or not allowed to use this model."""

    refusal = True


class RateLimitError(BackendError):
    """The provider asks to slow down (429)."""

    retryable = True
    refusal = True


class QuotaExhaustedError(BackendError):
    """The account's credit or quota is used up: waiting does not help, paying does."""

    refusal = True


class ContextOverflowError(BackendError):
    """The request does not fit the model's window."""

    refusal = True


class BadRequestError(BackendError):
    """The provider refuses this request whatever the moment: unknown model, bad parameter."""

    refusal = True


class ToolsRefusedError(BadRequestError):
    """The model, or the way it is served, takes no tool calls: it is to be asked without any."""


class BadReplyError(BackendError):
    """The provider's reply breaks its own wire: malformed JSON, a stream cut short."""

    retryable = True


class REPLError(RLMError):
    """A sandbox failed, not the code in it."""

    exit_code = 5


class SandboxUnavailableError(REPLError):
    """The sandbox cannot be started here; the message says what is missing and what to take instead."""


class REPLSecurityError(REPLError):
    """A guest broke the rules of the wire and was killed."""


class REPLExecutionError(REPLError):
    """A cell could not be run at all: the sandbox is closed or died before it started."""


class ToolError(RLMError):
    """A tool refused its arguments or failed; the model sees the message."""


class ToolNotFoundError(ToolError):
    """No tool has that name."""


class OutputValidationError(RLMError):
    """A final value does not fit `output_type`; the message is fit for the model."""


class RecordError(RLMError):
    """The trajectory cannot be written (disk full, folder gone): the run lands."""


class StoreError(RLMError):
    """The store of sessions and skills can't be read or written; what was in it before is unharmed."""


class ResumeError(RLMError):
    """A resumed run can't go on from its record; the record itself is unharmed."""


class Diverged(ResumeError):
    """A resumed run does something else than its record says; `on_divergence="continue"` goes on from there."""


class UnfinishedCall(ResumeError):
    """A tool that may change things was called and never answered; `redo_unfinished` calls it again."""


class HookDenied(RLMError):
    """A hook kept something from going on; the message has its reason."""


class QueueFullError(RLMError):
    """An engine has as many requests waiting as it takes: the same may be asked again later."""


class RunFailed(RLMError):
    """A run ended without an answer for a reason that has no class of its own."""
