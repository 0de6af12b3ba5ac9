"""The families of models whose own forms are understood, and where each form is written down. Data alone: servers are
meant to take these marks out of a reply, and many don't.

In every mark `|` also stands for the full-width bar and `_` for the low block that DeepSeek writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """One family: its marks, as pairs of opening and closing."""

    source: str
    """A model card, or the documentation of its chat template."""
    thoughts: tuple[tuple[str, str], ...] = ()
    calls: tuple[tuple[str, str], ...] = ()
    """What stands around tool calls; a closing may be empty where the form has none."""
    ends: tuple[str, ...] = ()
    """Marks that end a turn."""
    roles: tuple[str, ...] = ()
    """Marks that begin the turn of somebody."""


FAMILIES: dict[str, ModelFamily] = {
    "Hermes": ModelFamily(
        source="https://github.com/NousResearch/Hermes-Function-Calling",
        thoughts=(("<think>", "</think>"), ("<scratch_pad>", "</scratch_pad>")),
        calls=(("<tool_call>", "</tool_call>"),),
        ends=("<|im_end|>",),
        roles=("<|im_start|>",),
    ),
    "Qwen": ModelFamily(
        source="https://qwen.readthedocs.io/en/latest/framework/function_call.html",
        thoughts=(("<think>", "</think>"),),
        calls=(("<tool_call>", "</tool_call>"), ("<tools>", "</tools>")),
        ends=("<|im_end|>", "<|endoftext|>"),
        roles=("<|im_start|>",),
    ),
    "Qwen Coder": ModelFamily(
        source=f"{_HUB}/Qwen/Qwen3-Coder-480B-A35B-Instruct",  # <function=name><parameter=name>
        calls=(("<tool_call>", "</tool_call>"),),
    ),
    "gpt-oss": ModelFamily(
        source="https://cookbook.openai.com/articles/openai-harmony",  # channels, which `channels` reads
        ends=("<|end|>", "<|return|>", "<|call|>"),
        roles=("<|start|>",),
    ),
    "Kimi": ModelFamily(
        source=f"{_HUB}/moonshotai/Kimi-K2-Instruct/blob/main/docs/tool_call_guidance.md",
        thoughts=(("◁think▷", "◁/think▷"),),
        calls=(("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),),
        ends=("[EOS]",),
        roles=("<|im_user|>", "<|im_system|>"),
    ),
    "GLM": ModelFamily(
        source=f"{_HUB}/zai-org/GLM-4.5",  # <tool_call>name, then <arg_key> and <arg_value>
        thoughts=(("<think>", "</think>"),),
        calls=(("<tool_call>", "</tool_call>"),),
        roles=("<|user|>", "<|observation|>", "<|assistant|>"),
    ),
    "DeepSeek": ModelFamily(
        source=f"{_HUB}/deepseek-ai/DeepSeek-V3.1",
        thoughts=(("<think>", "</think>"),),
        calls=(("<|tool_calls_begin|>", "<|tool_calls_end|>"),),
        ends=("<|end_of_sentence|>",),
        roles=("<|User|>", "<|Assistant|>"),
    ),
    "DeepSeek DSML": ModelFamily(
        source=f"{_HUB}/deepseek-ai/DeepSeek-V3.2",
        calls=(("<|DSML|function_calls>", "</|DSML|function_calls>"), ("<|DSML|tool_calls>", "</|DSML|tool_calls>")),
    ),
    "Llama": ModelFamily(
        source="https://www.llama.com/docs/model-cards-and-prompt-formats/llama3_1/",
        ends=("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|eot|>", "<|eom|>"),
        roles=("<|start_header_id|>", "<|header_start|>"),
    ),
    "Mistral": ModelFamily(
        source="https://docs.mistral.ai/cookbooks/concept-deep-dive-tokenization-tool_calling",
        thoughts=(("[THINK]", "[/THINK]"),),
        calls=(("[TOOL_CALLS]", ""),),
        ends=("</s>",),
        roles=("[INST]",),
    ),
    "MiniMax": ModelFamily(
        source=f"{_HUB}/MiniMaxAI/MiniMax-M2/blob/main/docs/tool_calling_guide.md",
        thoughts=(("<think>", "</think>"),),
        calls=(("<minimax:tool_call>", "</minimax:tool_call>"), ("<tool_calls>", "</tool_calls>")),
        ends=("[e~[",),
    ),
    "Claude": ModelFamily(
        source="https://docs.anthropic.com/en/docs/build-with-claude/prompt-engineering/chain-of-thought",
        thoughts=(("<thinking>", "</thinking>"), ("<scratchpad>", "</scratchpad>")),
        calls=(("<function_calls>", "</function_calls>"),),
    ),
    "Seed": ModelFamily(
        source=f"{_HUB}/ByteDance-Seed/Seed-OSS-36B-Instruct",
        thoughts=(("<seed:think>", "</seed:think>"),),
        calls=(("<seed:tool_call>", "</seed:tool_call>"),),
        ends=("<seed:eos>",),
    ),
    "Command": ModelFamily(
        source="https://docs.cohere.com/docs/command-r7b-hf",
        thoughts=(("<|START_THINKING|>", "<|END_THINKING|>"),),
        calls=(("<|START_ACTION|>", "<|END_ACTION|>"),),
        ends=("<|END_OF_TURN_TOKEN|>", "<|END_RESPONSE|>"),
        roles=("<|START_OF_TURN_TOKEN|>",),
    ),
    "Gemma": ModelFamily(
        source="https://ai.google.dev/gemma/docs/capabilities/function-calling",  # ```tool_code; calls of Gemma 4
        thoughts=(("<|channel>thought", "<channel|>"),),
        calls=(("<|tool_call>", "<tool_call|>"),),
        ends=("<end_of_turn>", "<eos>", "<turn|>"),
        roles=("<start_of_turn>", "<|turn>"),
    ),
    "Granite": ModelFamily(
        source="https://www.ibm.com/granite/docs/models/granite",
        thoughts=(("<think>", "</think>"),),
        calls=(("<|tool_call|>", "<|/tool_call|>"), ("<tool_call>", "</tool_call>")),
        roles=("<|start_of_role|>",),
    ),
    "Phi": ModelFamily(
        source=f"{_HUB}/microsoft/Phi-4-mini-instruct",
        calls=(("<|tool_call|>", "<|/tool_call|>"), ("functools", "")),
        ends=("<|end|>", "<|endoftext|>"),
        roles=("<|user|>",),
    ),
    "Nemotron": ModelFamily(
        source=f"{_HUB}/nvidia/NVIDIA-Nemotron-Nano-9B-v2",
        thoughts=(("<think>", "</think>"),),
        calls=(("<TOOLCALL>", "</TOOLCALL>"),),
        ends=("<SPECIAL_12>",),
    ),
    "Hunyuan": ModelFamily(
        source=f"{_HUB}/tencent/Hunyuan-A13B-Instruct",
        thoughts=(("<think>", "</think>"),),
        calls=(("<tool_calls>", "</tool_calls>"),),
    ),
    "Liquid": ModelFamily(
        source=f"{_HUB}/LiquidAI/LFM2-1.2B",
        calls=(("<|tool_call_start|>", "<|tool_call_end|>"),),
    ),
    "InternLM": ModelFamily(
        source="https://github.com/InternLM/InternLM/blob/main/chat/chat_format.md",
        calls=(("<|action_start|><|plugin|>", "<|action_end|>"),),
    ),
    "Apertus": ModelFamily(
        source=f"{_HUB}/swiss-ai/Apertus-8B-Instruct-2509",
        thoughts=(("<|inner_prefix|>", "<|inner_suffix|>"),),
        calls=(("<|tools_prefix|>", "<|tools_suffix|>"),),
        ends=("<|assistant_end|>",),
    ),
    "EXAONE": ModelFamily(
        source=f"{_HUB}/LGAI-EXAONE/EXAONE-Deep-7.8B",
        thoughts=(("<thought>", "</thought>"), ("<thoughts>", "</thoughts>")),
        ends=("[|endofturn|]",),
        roles=("[|user|]",),
    ),
    "OpenThinker": ModelFamily(
        source=f"{_HUB}/open-thoughts/OpenThinker-7B",
        thoughts=(("<|begin_of_thought|>", "<|end_of_thought|>"),),
        ends=("<|end_of_solution|>",),
    ),
    "Reka": ModelFamily(
        source=f"{_HUB}/RekaAI/reka-flash-3",
        thoughts=(("<reasoning>", "</reasoning>"), ("<reflection>", "</reflection>")),
        ends=("<sep>",),
    ),
    "smolagents": ModelFamily(
        source="https://huggingface.co/docs/smolagents/conceptual_guides/react",
        ends=("<end_code>", "<end_plan>", "<end_action>"),
    ),
    "generic": ModelFamily(
        source=f"{_HUB}/docs/transformers/chat_templating",
        calls=(("<function_call>", "</function_call>"), ("<tool_use>", "</tool_use>"), ("<tool>", "</tool>")),
    ),
}

PRINTED = (
    ("<tool_response>", "</tool_response>"),
    ("<tool_result>", "</tool_result>"),
    ("<function_results>", "</function_results>"),
    ("<observation>", "</observation>"),
    ("[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    ("<|tool_response>", "<tool_response|>"),
)
"""What stands around results, which a model has no business to write: it made them up."""


def either(marks: list[str]) -> str:
    """A pattern for any of the marks, longest first."""
    return "|".join(map(_pattern, sorted(set(filter(None, marks)), key=lambda mark: (-len(mark), mark))))


def _pattern(mark: str) -> str:
    return re.escape(mark).replace(r"\|", "[|｜]").replace("_", "[_▁]")


THOUGHTS = dict(pair for family in FAMILIES.values() for pair in family.thoughts)
CALLS = dict(pair for family in FAMILIES.values() for pair in family.calls)
ENDS = [mark for family in FAMILIES.values() for mark in family.ends]
ROLES = [mark for family in FAMILIES.values() for mark in family.roles]
