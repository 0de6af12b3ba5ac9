"""What is masked in JSON leaves it JSON: numbers, texts within texts, keys as objects."""

from __future__ import annotations

import json

import pytest

from rlm.secrets import SecretMasker

KEY = {"kty": "RSA", "n": "n" * 40, "d": "aB3dE6gH9jK2mN5pQ8sT1v", "q": "zY9xW8vU7tS6rQ5pO4nM3l", "e": "AQAB"}
ADDRESS = '{"url": "https:\\/\\/user:hunter22x@example.com\\/a", "next": 1}'


def nested(value: object, depth: int) -> str:
    text = json.dumps(value)
    for _ in range(depth):
        text = json.dumps({"message": text, "after": [1]})
    return text


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "value",
    [
        {"password": 8263719, "port": 5432},
        {"a": {"password": -8263719.5}},
        {"user": "kim", "pin": 4821},
        {"password": 'quo"ted12', "port": 1},
        {"line": 'connect password="hunter22x" to db'},
        KEY,
    ],
    ids=["number", "fraction", "pin", "quoted", "line", "key"],
)
def test_what_is_masked_stays_json(value: object, depth: int) -> None:
    masked = SecretMasker().mask(nested(value, depth))
    assert "[REDACTED_" in masked
    loaded = json.loads(masked)
    for _ in range(depth):
        assert loaded["after"] == [1]
        loaded = json.loads(loaded["message"])
    assert list(loaded) == list(value)  # type: ignore[call-overload]


def test_a_number_as_password_becomes_a_text() -> None:
    masked = SecretMasker().mask('{"password": 8263719, "port": 5432}')
    assert json.loads(masked) == {"password": "[REDACTED_PASSWORD]", "port": 5432}
    assert SecretMasker().mask(masked) == masked
    assert SecretMasker().mask("password: 8263719") == "password: [REDACTED_PASSWORD]"


def test_the_parts_of_a_private_key_are_masked_one_by_one() -> None:
    masked = json.loads(SecretMasker().mask(json.dumps(KEY)))
    assert masked == KEY | {"d": "[REDACTED_PRIVATE_KEY]", "q": "[REDACTED_PRIVATE_KEY]"}


def test_an_address_with_escaped_slashes_loses_its_credentials_alone() -> None:
    masked = json.loads(SecretMasker().mask(ADDRESS))
    assert masked == {"url": "https://[REDACTED_CREDENTIALS]@example.com/a", "next": 1}
