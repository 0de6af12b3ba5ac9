"""The names under which runs are told to telemetry: attributes, operations, providers and reasons to end, by the
OpenTelemetry conventions for generative AI, and the project's own beside them. Nothing but names.

Source: https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/client-inference.md,
docs/gen-ai/gen-ai-agent-spans.md and docs/registry/attributes/gen-ai.md, of November 2026, where all have the status
`development`; the schema's address is that of `model/manifest.yaml`.
"""

from __future__ import annotations

from typing import Final

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"

CONVERSATION: Final = "gen_ai.conversation.id"
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
AGENT: Final = "gen_ai.agent.name"
TOOL: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
REQUEST_MODEL: Final = "gen_ai.request.model"
MAX_TOKENS: Final = "gen_ai.request.max_tokens"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
ERROR_TYPE: Final = "error.type"
OTHER_ERROR: Final = "_OTHER"

SPAN_KIND: Final = "rlm.span.kind"
DEPTH: Final = "rlm.depth"
UNFINISHED: Final = "rlm.unfinished"
TOTAL_TOKENS: Final = "rlm.total_tokens"
TOTAL_COST: Final = "rlm.total_cost_usd"
ENVIRONMENT: Final = "rlm.environment"
PURPOSE: Final = "rlm.purpose"
COST: Final = "rlm.cost_usd"
CACHED: Final = "rlm.cached"
CONTENT: Final = "rlm.content"

OPERATIONS: Final = {"completion": "invoke_agent", "model": "chat", "tool": "execute_tool"}
"""The operation of each kind of span that has one."""

_REASONS: Final = {"tool_calls": "tool_call", "unknown": ""}
_PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "claude-cli": "anthropic",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
_GATEWAY: Final = "litellm"


def finish_reason(finish: str) -> str:
    """The conventions' word for why a reply ended; empty where nobody knows."""
    return _REASONS.get(finish, finish)


def provider_and_model(label: str) -> tuple[str, str]:
    """The provider of a model, in the conventions' words where they have one, and its name there; `label` is
    `provider/name`, and for a model behind litellm `litellm/provider/name`.
    """
    provider, slash, name = label.partition("/")
    if provider == _GATEWAY and "/" in name:
        provider, _, name = name.partition("/")
    return _PROVIDERS.get(provider, provider), name if slash else label
