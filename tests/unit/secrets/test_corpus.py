"""Precision and recall over the labelled corpus: apart for lines held out while the detectors were made."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rlm.secrets import SecretMasker
from tests.support.labelled import Labelled, read

SEEDS = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Of places that hold secrets, how many are masked whole; of places masked, how many hold a secret."""

    recall: float
    precision: float


def score(masker: SecretMasker, lines: list[Labelled]) -> Score:
    whole = places = right = masked = 0
    for line in lines:
        spans = masker.find(line.text)
        places += len(line.places)
        masked += len(spans)
        whole += sum(any(span.start <= start and end <= span.end for span in spans) for start, end in line.places)
        right += sum(any(span.start < end and start < span.end for start, end in line.places) for span in spans)
    return Score(recall=whole / places, precision=right / masked)


def corpus(*names: str, held_out: bool) -> list[Labelled]:
    return [line for name in names for seed in SEEDS for line in read(name, seed) if line.held_out is held_out]


def everything(*names: str) -> list[Labelled]:
    return [line for name in names for seed in SEEDS for line in read(name, seed)]


def test_the_corpus_is_large_enough() -> None:
    secrets, others = read("secrets"), read("lookalikes")
    assert len(secrets) + len(others) >= 500
    assert len(others) >= 200
    assert [line.text for line in others if line.places] == []
    assert [line.text for line in secrets if not line.places] == []


@pytest.mark.parametrize("held_out", [False, True], ids=["tuned", "held out"])
def test_secrets(held_out: bool) -> None:
    found = score(SecretMasker(), corpus("secrets", "lookalikes", held_out=held_out))
    assert found.recall >= (0.95 if held_out else 0.98), found
    assert found.precision >= 0.98, found


@pytest.mark.parametrize("held_out", [False, True], ids=["tuned", "held out"])
def test_personal_data(held_out: bool) -> None:
    found = score(SecretMasker(personal=True), corpus("pii", held_out=held_out))
    assert found.recall >= 0.95, found
    assert found.precision >= 0.95, found


def test_what_somebody_else_wrote() -> None:
    found = score(SecretMasker(), everything("blind_secrets", "blind_second", "blind_lookalikes"))
    assert found.recall >= 0.95, found
    assert found.precision >= 0.995, found


@pytest.mark.parametrize(
    ("which", "recall", "precision"), [("third", 0.93, 0.995), ("fourth", 0.84, 0.995), ("fifth", 0.95, 0.99)]
)
def test_what_was_written_before_the_detectors_were_seen(which: str, recall: float, precision: float) -> None:
    found = score(SecretMasker(), everything(f"blind_{which}", f"blind_{which}_lookalikes"))
    assert found.recall >= recall, found
    assert found.precision >= precision, found


def test_personal_data_that_somebody_else_wrote() -> None:
    found = score(SecretMasker(personal=True), everything("blind_pii", "blind_impersonal"))
    assert found.recall >= 0.97, found
    assert found.precision >= 0.99, found


def test_little_else_goes_with_a_secret() -> None:
    kept = lost = 0
    for line in corpus("secrets", held_out=False):
        spans = SecretMasker().find(line.text)
        inside = sum(span.end - span.start for span in spans)
        marked = sum(end - start for start, end in line.places)
        kept += len(line.text) - marked
        lost += max(0, inside - marked)
    assert lost / kept < 0.1
