"""What a namespace holds goes out in pieces and comes back; what is odd in it stops nothing else."""

from __future__ import annotations

import threading

import pytest

from rlm.repl.guest.carry import carrier
from rlm.repl.guest.carry.carrier import Carrier, pieces, taking


def carried(names):
    return Carrier(names, lambda name, _value: name != "context")


def given(carrying, max_bytes=10_000):
    header = carrying.give(max_bytes)
    texts = {}
    for number in range(header["pieces"]):
        for name, part in carrying.piece(number):
            texts[name] = texts.get(name, "") + part
    return texts, header["definitions"], header["lost"]


def test_values_come_back_however_they_are_cut(monkeypatch):
    monkeypatch.setattr(carrier, "PIECE_CHARS", 7)
    values = {"a": "x" * 20, "b": 1, "c": [1, (2,)], "d": ""}
    texts, _, lost = given(carried(values))
    back = {}
    cells = [*taking(texts)]
    assert len(cells) > 4
    taken = carried(back)
    refused = [eval(cell, {"FINAL": lambda said: said, "IMPORT_VARS": taken.take}) for cell in cells]
    assert (back, lost, refused[-1]) == (values, {}, {})


def test_pieces_are_given_once_and_hold_no_memory():
    carrying = carried({"a": 1})
    assert carrying.give(100)["pieces"] == 1
    assert (carrying.piece(0), carrying.piece(0)) == ([["a", "1"]], [])
    assert list(pieces({})) == []


def test_names_that_no_cell_can_write_are_passed_over():
    names = {1: 2, "a b": 1, "x" * 300: 1, "\ud800": 1, "context": 1, "kept": 1}
    assert given(carried(names)) == ({"kept": "1"}, [], {})


def test_what_does_not_fit_is_named_and_the_rest_is_kept():
    texts, _, lost = given(carried({"big": "x" * 200, "lock": threading.Lock(), "small": 1}), 100)
    assert (texts, lost) == ({"small": "1"}, {"big": "it is too large", "lock": "a value of type _thread.lock"})


def test_more_names_than_a_session_has_are_named():
    carrying = carried({f"v{n}": n for n in range(2001)} | {f"f{n}": len for n in range(2001)})
    carrying.note("\n".join(f"def f{n}(): pass" for n in range(2001)), None)
    texts, definitions, lost = given(carrying, 10**6)
    assert (len(texts), len(definitions)) == (2000, 2000)
    assert lost["v2000"] == "there are more than 2,000 variables"


def test_a_value_that_changes_meanwhile_is_named(monkeypatch):
    def changing(_value, _room):
        raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setattr(carrier, "to_text", changing)
    assert given(carried({"rows": {}}))[2] == {"rows": "a thread changes it"}


@pytest.mark.parametrize("name", ["context", "a b", ""])
def test_names_of_the_runtime_are_not_taken(name):
    names = {}
    assert carried(names).take([(name, "1")], is_last=True) == {name: "the runtime uses that name itself"}
    assert names == {}


def test_the_cells_of_the_host_define_nothing():
    carrying = carried({"f": len})
    carrying.take([("x", "1")], is_last=True)
    carrying.note("def f(): pass", None)
    assert given(carrying)[1] == []
