"""How models of many families write calls and thoughts into their text. Where each form is written down stands in the
project's own table, `rlm.core.dialects.families`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

Writer = Callable[[str], str]


def _call(code: str, name: str = "name", arguments: str = "arguments") -> str:
    return json.dumps({name: "execute_code", arguments: {"code": code}})


def _arguments(code: str) -> str:
    return json.dumps({"code": code})


def _parameters(code: str, prefix: str = "") -> str:
    return (
        f'<{prefix}invoke name="execute_code">\n<{prefix}parameter name="code" string="true">{code}'
        f"</{prefix}parameter>\n</{prefix}invoke>"
    )


CALLS: Mapping[str, Writer] = {
    "Hermes": lambda code: f"<tool_call>\n{_call(code)}\n</tool_call>",
    "Hermes in one line": lambda code: f"I will look. <tool_call>{_call(code)}</tool_call>",
    "Qwen's tools": lambda code: f"<tools>\n{_call(code)}\n</tools>",
    "Qwen Coder": lambda code: (
        f"<tool_call>\n<function=execute_code>\n<parameter=code>\n{code}\n</parameter>\n</function>\n</tool_call>"
    ),
    "Qwen Coder without a wrapper": lambda code: (
        f"<function=execute_code>\n<parameter=code>\n{code}\n</parameter>\n</function>"
    ),
    "gpt-oss": lambda code: (
        "<|channel|>analysis<|message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.execute_code "
        f"<|constrain|>json<|message|>{_arguments(code)}<|call|>"
    ),
    "gpt-oss, recipient first": lambda code: (
        f"<|start|>assistant to=functions.execute_code<|channel|>commentary json<|message|>{_arguments(code)}<|call|>"
    ),
    "gpt-oss's Python": lambda code: f"<|channel|>analysis to=python code<|message|>{code}<|call|>",
    "Kimi": lambda code: (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.execute_code:0<|tool_call_argument_begin|>"
        f"{_arguments(code)}<|tool_call_end|><|tool_calls_section_end|>"
    ),
    "GLM": lambda code: (
        f"<tool_call>execute_code\n<arg_key>code</arg_key>\n<arg_value>{code}</arg_value>\n</tool_call>"
    ),
    "DeepSeek V3": lambda code: (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>execute_code\n"
        f"```json\n{_arguments(code)}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "DeepSeek V3.1": lambda code: (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>execute_code<｜tool▁sep｜>{_arguments(code)}<｜tool▁call▁end｜>"
        "<｜tool▁calls▁end｜>"
    ),
    "DeepSeek DSML": lambda code: (
        f"<｜DSML｜function_calls>\n{_parameters(code, '｜DSML｜')}\n</｜DSML｜function_calls>"
    ),
    "MiniMax": lambda code: f"<minimax:tool_call>\n{_parameters(code)}\n</minimax:tool_call>",
    "MiniMax M1": lambda code: f"<tool_calls>\n{_call(code)}\n</tool_calls>",
    "Claude": lambda code: f"<function_calls>\n{_parameters(code)}\n</function_calls>",
    "Seed": lambda code: (
        f"<seed:tool_call>\n<function=execute_code>\n<parameter=code>{code}</parameter>\n</function>\n</seed:tool_call>"
    ),
    "Llama": lambda code: f"<|python_tag|>{_call(code, arguments='parameters')}<|eom_id|>",
    "Llama's Python": lambda code: f"<|python_tag|>{code}<|eom_id|>",
    "Llama's method": lambda code: f"<|python_tag|>execute_code.call(code={code!r})<|eom_id|>",
    "Mistral": lambda code: f"[TOOL_CALLS] [{_call(code)}]",
    "Mistral, newer": lambda code: f"[TOOL_CALLS]execute_code[ARGS]{_arguments(code)}",
    "Mistral with an id": lambda code: f"[TOOL_CALLS]execute_code[CALL_ID]aB3dE6gH9[ARGS]{_arguments(code)}",
    "Command": lambda code: f"<|START_ACTION|>[{_call(code, 'tool_name', 'parameters')}]<|END_ACTION|>",
    "Granite": lambda code: f"<|tool_call|>[{_call(code)}]",
    "Phi": lambda code: f"functools[{_call(code)}]",
    "Nemotron": lambda code: f"<TOOLCALL>[{_call(code)}]</TOOLCALL>",
    "Liquid": lambda code: f"<|tool_call_start|>[execute_code(code={code!r})]<|tool_call_end|>",
    "InternLM": lambda code: f"<|action_start|><|plugin|>\n{_call(code, arguments='parameters')}<|action_end|>",
    "Apertus": lambda code: f'<|tools_prefix|>[{{"execute_code": {_arguments(code)}}}]<|tools_suffix|>',
    "Gemma": lambda code: f"```tool_code\nexecute_code(code={code!r})\n```",
    "Gemma 4": lambda code: f'<|tool_call>call:execute_code{{code:<|"|>{code}<|"|>}}<tool_call|>',
    "elements": lambda code: (
        f"<tool_call>\n<name>execute_code</name>\n<arguments>{_arguments(code)}</arguments>\n</tool_call>"
    ),
    "execute_code": lambda code: f"<execute_code>\n{code}\n</execute_code>",
    "CodeAct": lambda code: f"<execute_ipython>\n{code}\n</execute_ipython>",
    "a repl tag": lambda code: f"<repl>\n{code}\n</repl>",
    "ReAct": lambda code: (
        f"Thought: I look.\nAction: execute_code\nAction Input: {_arguments(code)}\nObservation: none"
    ),
    "bare JSON": _call,
    "a fence of JSON": lambda code: f"```json\n{_call(code)}\n```",
}

THOUGHTS: Mapping[str, tuple[str, str]] = {
    "Qwen": ("<think>", "</think>"),
    "Claude": ("<thinking>", "</thinking>"),
    "EXAONE": ("<thought>", "</thought>"),
    "Reka": ("<reasoning>", "</reasoning>"),
    "Hermes": ("<scratch_pad>", "</scratch_pad>"),
    "Mistral": ("[THINK]", "[/THINK]"),
    "Seed": ("<seed:think>", "</seed:think>"),
    "Kimi": ("◁think▷", "◁/think▷"),
    "Command": ("<|START_THINKING|>", "<|END_THINKING|>"),
    "OpenThinker": ("<|begin_of_thought|>", "<|end_of_thought|>"),
    "Gemma": ("<|channel>thought", "<channel|>"),
    "Apertus": ("<|inner_prefix|>", "<|inner_suffix|>"),
}
