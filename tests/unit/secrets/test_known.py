"""Secrets of this process's environment are masked wherever they stand."""

from __future__ import annotations

import json
from base64 import b64encode

import rlm
from rlm.secrets.known import KnownValues
from rlm.secrets.masking import SecretMasker

ODD = "correct/horse+battery 9"


def masked(text: str, **environ: str) -> str:
    return SecretMasker(known=KnownValues.of(environ)).mask(text)


def test_a_value_is_masked_without_any_sign_around_it() -> None:
    assert masked(f"x {ODD} y", SERVICE_PASSWORD=ODD) == "x [REDACTED_PASSWORD] y"


def test_its_form_in_an_address_is_masked_too() -> None:
    assert masked("to correct%2Fhorse%2Bbattery%209!", SERVICE_PASSWORD=ODD) == "to [REDACTED_PASSWORD]!"


def test_its_forms_in_json_python_and_base64_are_masked_too() -> None:
    value = 'été \\ "seven" 9\n'.strip()
    texts = (
        json.dumps([value]),
        json.dumps([value], ensure_ascii=False),
        repr([value]),
        b64encode(value.encode()).decode(),
    )
    left = [masked(text, SERVICE_PASSWORD=value) for text in texts]
    assert ["seven" in text or b64encode(b"seven").decode() in text for text in left] == [False] * 4
    assert all("[REDACTED_PASSWORD]" in text for text in left)


def test_only_names_of_secrets_count() -> None:
    assert masked("in /srv/eva12345", HOME="/srv/eva12345", EDITOR="vim12345") == "in /srv/eva12345"


def test_short_values_words_and_placeholders_would_tear_up_text() -> None:
    text = "a test of development, changeme123 and ok1"
    assert masked(text, A_TOKEN="test", B_SECRET="development", C_PASSWORD="ok1", D_TOKEN="${TOKEN}") == text


def test_the_public_function_reads_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "plain-looking-4711-value")
    assert rlm.mask_secrets("it is plain-looking-4711-value.") == "it is [REDACTED_API_KEY]."
