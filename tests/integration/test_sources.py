"""An answer with its sources: each is looked for in the data by the host, and what isn't there goes back once."""

import json

import pytest

from rlm import RLM, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.cli.outcome import print_answer, result_line
from rlm.core.events import CompletionEnd
from rlm.trajectory.reader import Trajectory

NOTES = "Mon: the pump was checked.\nTue: the pump failed at noon.\nWed: repaired by Ines.\n"


@pytest.fixture
def ask(tmp_path):
    def run(*cells, context=NOTES, **settings):
        config = Config(log_dir=str(tmp_path), environment="local", **settings)
        model = ScriptedBackend([tool_call("execute_code", code=code) for code in cells])
        with RLM(model, config=config) as rlm:
            return rlm.completion("When did the pump fail?", context), model

    return run


def test_sources_are_checked_by_the_host_and_kept(ask, capsys):
    result, _model = ask('FINAL("at noon", sources=["the pump failed at   noon", "Wed: repaired"])')
    assert [(source.found, source.line) for source in result.sources] == [("spacing", 2), ("exact", 3)]
    (end,) = [event.body for event in Trajectory(result.trajectory) if isinstance(event.body, CompletionEnd)]
    assert tuple(end.sources) == result.sources
    assert [source["line"] for source in json.loads(result_line(result))["sources"]] == [2, 3]
    assert print_answer(result, as_json=False)
    assert capsys.readouterr().out == (
        'at noon\n\nSources:\n[1] line 2: "the pump failed at noon"\n[2] line 3: "Wed: repaired"\n'
    )


def test_a_source_that_the_data_has_not_goes_back_once(ask):
    wrong = 'FINAL("at dawn", sources=["the pump failed at dawn"])'
    result, model = ask(wrong, 'FINAL("at noon", sources=["the pump failed at noon"])')
    assert (result.response, result.sources[0].found) == ("at noon", "exact")
    told = [message.content for message in model.requests[-1].messages]
    assert any("'the pump failed at dawn' (the nearest: 'the pump failed at noon')" in text for text in told)
    again, _model = ask(wrong, wrong)
    assert (again.status, again.response, again.sources[0].holds) == ("completed", "at dawn", False)


def test_where_sources_are_asked_for_an_answer_without_goes_back_once(ask):
    result, model = ask('FINAL("noon")', 'FINAL("noon", cite("failed at noon"))', cite=True)
    assert [source.line for source in result.sources] == [2]
    assert "sources=[" in model.requests[0].messages[0].content
    plain, model = ask('FINAL("noon")')
    assert (plain.sources, "cite(" in model.requests[0].messages[0].content) == ((), False)


def test_cells_are_told_where_words_are(ask):
    result, _model = ask("FINAL([cite('pump\\nfailed'), cite('no such thing at all')])")
    assert result.value == [
        {"quote": "pump\nfailed", "found": "spacing", "line": 2, "start": 36, "end": 47, "likeness": 1.0},
        {"quote": "no such thing at all", "found": "no"},
    ]


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ("[7]", "a source is a quote of the data"),
        ("['x'] * 101", "101 sources are too many"),
        ("'x' * 10_001", "quote the words, not the page"),
    ],
)
def test_what_is_no_source_is_an_error_of_the_cell(ask, sources, said):
    result, model = ask(f"FINAL('noon', sources={sources})", "FINAL('noon')")
    assert result.response == "noon"
    assert any(said in message.content for message in model.requests[-1].messages)


def test_a_secret_in_a_source_is_masked(ask):
    token = "ghp_" + "a1B2" * 9
    result, _model = ask(f"FINAL('it', sources=['token {token}'])", context=f"the token {token} is here\n")
    assert result.sources[0].holds
    assert token not in repr(result)
    assert token not in result.trajectory.read_text(encoding="utf-8")
