"""A run that is cut off anywhere and resumed comes to the same end, and calls nothing that its record has."""

import os
import random
import shutil
from collections import Counter

import pytest

from rlm.core.exceptions import ConfigError
from tests.support.resumes import cut, made, open_calls, resumed, steady_plan

TREES = int(os.environ.get("RESUMES", "8"))
"""Of which half are masked."""
CUTS = 5


def kept_of(made_run):
    path = made_run.result.trajectory
    exact = path.with_suffix(".exact")
    return path.read_bytes(), exact.read_bytes() if exact.exists() else None


@pytest.fixture
def forgetful(monkeypatch):
    """Runs keep what they would remove at their end, so that their records can be cut off afterwards."""
    monkeypatch.setattr("rlm.runtime.opening.forget", lambda path: None)


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
def test_what_is_resumed_ends_as_what_was_not_cut_off(tmp_path, masked, forgetful):
    for seed in range(masked, TREES, 2):
        plan, rng = steady_plan(seed), random.Random(seed)
        whole = made(plan, tmp_path / "whole", masked=masked)
        record, exact = kept_of(whole)
        first_calls = record.index(b"completion.start")
        for _ in range(CUTS):
            check_cut(plan, whole, (record, exact), rng.randint(first_calls, len(record)), tmp_path / "cut", masked)


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
def test_runs_that_are_cut_off_again_and_again_pay_for_nothing_twice(tmp_path, masked, forgetful):
    """Each resumed run is cut off in its turn; the last one is left to end."""
    for seed in range(masked, TREES, 2):
        plan, rng = steady_plan(seed), random.Random(seed)
        folder = tmp_path / str(seed)
        whole = made(plan, folder, masked=masked)
        path, left_open, answered = whole.result.trajectory, 0, set()
        if whole.result.status == "failed":
            continue
        for _ in range(3):
            events = cut_somewhere(path, rng)
            left_open += open_calls(events)
            answered |= {event["span"] for event in events if is_answer(event)}
            again = resumed(plan, path, masked=masked)
            path = again.result.trajectory
        where = f"seed {seed}: {again.result.error!r}"
        assert (again.result.status, again.result.response) == (whole.result.status, whole.result.response), where
        extra = again.result.usage.model_calls - whole.result.usage.model_calls
        assert 0 <= extra <= left_open, where
        assert sum(again.asked.values()) <= sum(whole.asked.values()) - len(answered), where


def is_answer(event):
    return event["type"] == "model.end" and not event["body"].keys() & {"cached", "error"}


def cut_somewhere(path, rng):
    record = path.read_bytes()
    begun = record.index(b"\n", record.index(b'"completion.start"')) + 1
    end = record.rindex(b"\n", 0, len(record) - 1) + 1  # the end of the run is never there
    exact = path.with_suffix(".exact")
    return cut(record, exact.read_bytes() if exact.exists() else None, rng.randint(min(begun, end), end), path)


def answered_calls(events):
    return sum(event["type"] == "model.end" and "cached" not in event["body"] for event in events)


def failed_turns(events):
    """Failed calls that nothing came of but the end of their completion: they are made again."""
    turns = {event["span"] for event in events if event["type"] == "model.start" and event["body"]["key"] == "turn"}
    return sum(event["type"] == "model.end" and "error" in event["body"] and event["span"] in turns for event in events)


def check_cut(plan, whole, kept, at, folder, masked):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / whole.result.trajectory.name
    if (blobs := whole.result.trajectory.with_suffix(".blobs")).exists():
        shutil.copytree(blobs, path.with_suffix(".blobs"))
    events = cut(kept[0], kept[1], at, path)
    if any(event["type"] == "completion.end" and event["parent"] is None for event in events):
        return
    if all(event["type"] != "completion.start" for event in events):
        with pytest.raises(ConfigError, match="ends before the run had begun"):
            resumed(plan, path, masked=masked)
        return
    again = resumed(plan, path, masked=masked)
    where = f"seed {plan.seed}, cut at {at}, last {events[-1]['type']}, {again.result.error!r}"
    assert again.result.status == whole.result.status, where
    assert (again.result.response, again.result.value) == (whole.result.response, whole.result.value), where
    again_calls = sum(again.asked.values()) - (sum(whole.asked.values()) - answered_calls(events))
    assert 0 <= again_calls <= failed_turns(events), where
    assert not Counter(again.asked) - Counter(whole.asked), where
    assert again.result.usage.model_calls == whole.result.usage.model_calls + open_calls(events), where
