"""The trials of a model tell one that follows from one that doesn't, and recommend what works."""

import json

import pytest

from rlm import Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.exceptions import BackendConnectionError, ToolsRefusedError
from rlm.core.types import ModelTraits
from rlm.runtime.conformance import Trials

COUNT = "FINAL(sum('cedar' in line for line in context.splitlines()))"
BATCH = "FINAL(llm_query_batched([f'Say {w} in upper case' for w in context]))"
SORT = "FINAL(sorted(context, reverse=True))"
FIND = "FINAL(next(line.split()[1] for line in context.splitlines() if 'elm' in line).rstrip(':'))"
ADD = "FINAL(sum(item['price'] for item in context if item['wood'] == 'birch'))"
CODES = {"How many lines": COUNT, "elm": FIND, "birch items": ADD, "upper case": BATCH}


def code_for(request):
    task = request.messages[1].content
    return next((code for words, code in CODES.items() if words in task), SORT)


def is_sub_call(request):
    return len(request.messages) == 1


def follows_both(request):
    if is_sub_call(request):
        return request.messages[0].content.split()[1].upper()
    if request.tools:
        return tool_call("execute_code", code=code_for(request))
    return f"```repl\n{code_for(request)}\n```"


def knows_no_tools(request):
    if not is_sub_call(request) and request.tools:
        return "I have no tools, sorry."
    return follows_both(request)


def refuses_tools(request):
    return ToolsRefusedError("m takes no tool calls here") if request.tools else follows_both(request)


def never_batches(request):
    if not is_sub_call(request) and code_for(request) == BATCH:
        return tool_call("execute_code", code="FINAL([w.upper() for w in context])")
    return follows_both(request)


def adds_wrong_by_tools(request):
    if not is_sub_call(request) and request.tools and code_for(request) == ADD:
        return tool_call("execute_code", code="FINAL(7)")
    return follows_both(request)


def looks_first_by_tools(request):
    if request.tools and len(request.messages) == 2:
        return tool_call("execute_code", code="print(len(context))")
    return follows_both(request)


def tried(script, tmp_path):
    return Trials(ScriptedBackend(script, traits=ModelTraits()), Config(), str(tmp_path)).run()


def verdicts(conformance):
    return {finding.name: finding.ok for finding in conformance.findings}


def test_a_model_that_follows_is_recommended_its_tools(tmp_path):
    conformance = tried(follows_both, tmp_path)
    assert all(verdicts(conformance).values()), conformance
    assert conformance.recommended == {"dialect": "tools"}
    assert 0 < conformance.total_tokens < 60_000


@pytest.mark.parametrize("model", [knows_no_tools, refuses_tools])
def test_a_model_without_tools_is_recommended_code(tmp_path, model):
    conformance = tried(model, tmp_path)
    assert verdicts(conformance)["dialect tools"] is False
    assert conformance.recommended == {"dialect": "code"}


@pytest.mark.parametrize("model", [adds_wrong_by_tools, looks_first_by_tools])
def test_of_two_dialects_the_better_is_recommended_then_the_shorter(tmp_path, model):
    conformance = tried(model, tmp_path)
    assert verdicts(conformance)["dialect tools"] is True
    assert conformance.recommended == {"dialect": "code"}


def test_a_model_that_does_not_batch_is_recommended_no_depth(tmp_path):
    conformance = tried(never_batches, tmp_path)
    assert verdicts(conformance)["sub-calls"] is False
    assert conformance.recommended == {"dialect": "tools", "max_depth": 0}


def test_a_model_that_talks_nonsense_is_not_recommended(tmp_path):
    conformance = tried(lambda request: "Lorem ipsum.", tmp_path)
    assert not conformance.ok
    assert conformance.recommended == {}
    json.dumps(conformance.recommended)


def test_a_model_that_cannot_be_reached_is_an_error(tmp_path):
    with pytest.raises(BackendConnectionError):
        tried(lambda request: BackendConnectionError("down"), tmp_path)


def test_a_costly_habit_is_named(tmp_path):
    def cut_off(request):
        return "```repl\nx = 1\n```\n\nOutput: 1" if len(request.messages) == 2 else follows_both(request)

    first = tried(cut_off, tmp_path).findings[1]
    assert first.ok
    assert "writes on after its code" in first.detail
