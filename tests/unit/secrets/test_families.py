"""One of each family, with its label; and the example of the document."""

from __future__ import annotations

import hashlib
import json

import pytest

import rlm
from rlm.secrets import SecretMasker
from tests.support.labelled import Labelled, read

ALNUM = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6kL9nP2rS5uV8xA1"


def long(size: int) -> str:
    """Text that looks drawn, of that size."""
    return (ALNUM * (size // len(ALNUM) + 1))[:size]


def masked(text: str) -> str:
    return SecretMasker().mask(text)


def test_the_example_of_the_document() -> None:
    result = {"api_key": "sk_live_abc123xyz", "status": "success"}
    assert rlm.mask_secrets(str(result)) == "{'api_key': '[REDACTED_API_KEY]', 'status': 'success'}"


@pytest.mark.parametrize(
    ("token", "family"),
    [
        ("sk-" + long(48), "API_KEY"),
        ("sk-proj-" + long(120), "API_KEY"),
        ("sk-ant-api03-" + long(93) + "AA", "API_KEY"),
        ("sk_live_" + long(24), "API_KEY"),
        ("AIza" + long(35), "API_KEY"),
        ("AKIA" + "A2B3C4D5E6F7G2H3", "AWS_ACCESS_KEY"),
        ("ghp_" + long(36), "GITHUB_TOKEN"),
        ("github_pat_" + long(22) + "_" + long(59), "GITHUB_TOKEN"),
        ("glpat-" + long(20), "GITLAB_TOKEN"),
        ("xoxb-123456789012-123456789012-" + long(24), "SLACK_TOKEN"),
        ("SG." + long(22) + "." + long(43), "API_KEY"),
        ("npm_" + long(36), "NPM_TOKEN"),
        ("pypi-AgEIcHlwaS5vcmc" + long(80), "PYPI_TOKEN"),
        ("hf_" + long(34), "HF_TOKEN"),
        ("dapi" + "0123456789abcdef" * 2, "DATABRICKS_TOKEN"),
        ("123456789:AA" + long(33), "TELEGRAM_TOKEN"),
        ("M" + long(23) + "." + long(6) + "." + long(38), "DISCORD_TOKEN"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJ" + long(40) + "." + long(43), "JWT"),
        ("hvs." + long(90), "VAULT_TOKEN"),
    ],
)
def test_a_token_is_known_by_its_form_alone(token: str, family: str) -> None:
    assert masked(f"see {token} there") == f"see [REDACTED_{family}] there"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=hunter2", "password=[REDACTED_PASSWORD]"),
        ("DB_PASSWORD='p@ss1234word!'", "DB_PASSWORD='[REDACTED_PASSWORD]'"),
        ("mysql --password hunter2x -u root", "mysql --password [REDACTED_PASSWORD] -u root"),
        ('{"password": "hunter2", "n": 1}', '{"password": "[REDACTED_PASSWORD]", "n": 1}'),
        (r"{\"password\": \"hunter2\"}", r"{\"password\": \"[REDACTED_PASSWORD]\"}"),
        ("a=1&token=abcd1234efgh&b=2", "a=1&token=[REDACTED_TOKEN]&b=2"),
        (f"Authorization: Bearer {long(40)}", "Authorization: Bearer [REDACTED_TOKEN]"),
        ("Authorization: Basic ZXZhOmh1bnRlcjI=", "Authorization: Basic [REDACTED_CREDENTIALS]"),
        ("Cookie: sid=abcdef123456; theme=dark", "Cookie: [REDACTED_COOKIE]"),
        (f"aws_secret_access_key = {long(40)}", "aws_secret_access_key = [REDACTED_AWS_SECRET_KEY]"),
        ("postgresql://app:hunter2@db:5432/x", "[REDACTED_DATABASE_URL]"),
        (
            "git clone https://eva:hunter2@git.example.net/a",
            "git clone https://[REDACTED_CREDENTIALS]@git.example.net/a",
        ),
        ("<password>hunter2</password>", "<password>[REDACTED_PASSWORD]</password>"),
        (f"the token: {long(40)}, for a day", "the token: [REDACTED_TOKEN], for a day"),
    ],
)
def test_a_value_is_known_by_what_stands_around_it(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"password": "S3cr/et+Pw 9"}', '{"password": "[REDACTED_PASSWORD]"}'),
        ("- name: DB_PASSWORD\n  value: hunter2", "- name: DB_PASSWORD\n  value: [REDACTED_PASSWORD]"),
        (
            'variable "db_password" {\n  default = "hunter2"',
            'variable "db_password" {\n  default = "[REDACTED_PASSWORD]"',
        ),
        ("password: >-\n  hunter2x9\n", "password: >-\n  [REDACTED_PASSWORD]\n"),
        ("  password: tr0ub4dor&3\n", "  password: [REDACTED_PASSWORD]\n"),
        ('PASSWORD: str = "hunter2"', 'PASSWORD: str = "[REDACTED_PASSWORD]"'),
        ("| password | hunter2x9 |", "| password | [REDACTED_PASSWORD] |"),
        ("**Password**: hunter2", "**Password**: [REDACTED_PASSWORD]"),
        ("ENV DB_PASSWORD hunter2", "ENV DB_PASSWORD [REDACTED_PASSWORD]"),
        ('requests.get(url, auth=("eva", "hunter2"))', 'requests.get(url, auth=("eva", "[REDACTED_PASSWORD]"))'),
        ("mysqldump -uroot -phunter2 app", "mysqldump -uroot -p[REDACTED_PASSWORD] app"),
        ("echo 'hunter2' | sudo -S true", "echo '[REDACTED_PASSWORD]' | sudo -S true"),
        ("openssl rsa -passin pass:hunter2 -in k", "openssl rsa -passin pass:[REDACTED_PASSWORD] -in k"),
        ("db:5432:app:eva:hunter2", "db:5432:app:eva:[REDACTED_PASSWORD]"),
        ("login eva\n  password hunter2", "login eva\n  password [REDACTED_PASSWORD]"),
        ("root:hunter2@tcp(db:3306)/app", "root:[REDACTED_PASSWORD]@tcp(db:3306)/app"),
        ("Your password is hunter2x", "Your password is [REDACTED_PASSWORD]"),
        (f"client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJ{long(80)}==", "client-key-data: [REDACTED_PRIVATE_KEY]"),
        ("psql postgresql://app:p%40ss9@/app", "psql [REDACTED_DATABASE_URL]"),
    ],
)
def test_where_people_keep_secrets(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "password added, token facade",
        "password: !vault |",
        "password: !Ref DBPassword",
        "cache key: linux-py311-0123456789abcdef0123456789abcdef",
        '["password", "manager", "token"]',
        "docker run -u 1000:1000 image",
        "the password is base64-encoded",
        'validator("on_fail", "on_pass", "on_error")',
        '"passkey", "password", "password_2"',
        'key = "6 days, 23:11:12"',
        '"nextToken": "RW5DdDJkMWYwZjM2MzM2VHVpOHJIUXlDUXlhc2QzRGViYnc5"',
        "    password=parts['password'],\n    password=parts[0]\n",
        'set(key="auth_token", value=token_b64)',
        "arn:aws:secretsmanager:us-west-2:123456789012:secret:MyDatabase-a1b2c3",
        "token:function(e,t){var n=t.errorToken;n&&(t.errorToken=!1",
    ],
)
def test_what_reads_like_a_secret_and_is_none(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("escape", ["\x1b", r"\x1b", r"\u001b", r"\033"])
def test_colours_hide_nothing(escape: str) -> None:
    red, plain = f"{escape}[31m", f"{escape}[0m"
    assert masked(f"{red}sk-{long(48)}{plain}") == f"{red}[REDACTED_API_KEY]{plain}"
    assert masked(f"{red}password={plain}hunter2") == f"{red}password={plain}[REDACTED_PASSWORD]"


@pytest.mark.parametrize("sequence", ["\x1b[38:5:1m", "\x1b[?25h", "\x1b(B\x1b[m", r"\033[38:2::9:9:9m"])
def test_other_terminal_sequences_hide_nothing_either(sequence: str) -> None:
    assert masked(f"{sequence}sk-{long(48)}") == f"{sequence}[REDACTED_API_KEY]"


def test_the_examples_that_everybody_tries_are_masked() -> None:
    assert masked("AKIAIOSFODNN7EXAMPLE") == "[REDACTED_AWS_ACCESS_KEY]"
    numbers = "4111 1111 1111 1111, 4242424242424242, 5105-1051-0510-5100"
    assert rlm.mask_secrets(numbers, level="pii") == "[REDACTED_CARD], [REDACTED_CARD], [REDACTED_CARD]"


def test_a_name_within_the_value_of_another_is_looked_at_too() -> None:
    assert masked("key=@" * 3 + "password=hunter2").endswith("[REDACTED_PASSWORD]")


@pytest.mark.parametrize("newline", ["\n", "\r\n", r"\n", r"\\n"])
def test_a_private_key_goes_as_a_whole(newline: str) -> None:
    lines = ["-----BEGIN RSA PRIVATE KEY-----", *(long(64) for _ in range(20)), "-----END RSA PRIVATE KEY-----"]
    assert masked(f"before {newline.join(lines)} after").replace(" ", "") == "before[REDACTED_PRIVATE_KEY]after"


def test_a_private_key_that_is_cut_off_goes_too() -> None:
    text = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(long(64) for _ in range(5))
    assert masked(text + "\nand then prose") == "[REDACTED_PRIVATE_KEY]\nand then prose"


@pytest.mark.parametrize("sign", ["-", "+", " ", "> "])
def test_a_private_key_in_a_diff_that_is_cut_off_goes_too(sign: str) -> None:
    lines = ["-----BEGIN RSA PRIVATE KEY-----", *(long(64) for _ in range(12))]
    text = "--- a/key\n+++ b/key\n" + "\n".join(sign + line for line in lines)
    assert masked(text) == f"--- a/key\n+++ b/key\n{sign}[REDACTED_PRIVATE_KEY]"


def test_overlapping_finds_are_one_with_the_family_of_the_longest() -> None:
    assert masked(f"password=postgres://app:{long(16)}@db/x") == "password=[REDACTED_DATABASE_URL]"


def test_personal_data_is_a_level_of_its_own() -> None:
    text = "eva@example.com, +49 30 1234567, 4539 1488 0343 6467, DE89 3704 0044 0532 0130 00"
    assert rlm.mask_secrets(text) == text
    assert rlm.mask_secrets(text, level="pii") == "[REDACTED_EMAIL], [REDACTED_PHONE], [REDACTED_CARD], [REDACTED_IBAN]"


def test_numbers_that_fail_their_checksum_are_left() -> None:
    text = "4539 1488 0343 6468, DE88 3704 0044 0532 0130 00"
    assert rlm.mask_secrets(text, level="pii") == text


def test_off_masks_nothing() -> None:
    assert rlm.mask_secrets("password=hunter2", level="off") == "password=hunter2"


@pytest.mark.parametrize(
    "line", [line for line in read("lookalikes") if not line.held_out], ids=lambda line: line.text[:40]
)
def test_what_only_looks_like_a_secret(line: Labelled) -> None:
    assert SecretMasker().find(line.text) == []


@pytest.mark.parametrize("depth", range(6))
@pytest.mark.parametrize("password", ['Xk7"q0tESul', "Xk7q0tESul\\\\", 'Xk7q0"tE"Sul'])
def test_json_within_json_is_masked_whole_and_stays_json(depth: int, password: str) -> None:
    text = json.dumps({"password": password, "n": 1})
    for _ in range(depth):
        text = json.dumps({"b": text})
    shown = masked(text)
    assert "Sul" not in shown
    for _ in range(depth):
        shown = json.loads(shown)["b"]
    assert json.loads(shown) == {"password": "[REDACTED_PASSWORD]", "n": 1}


def test_a_list_of_digests_is_not_a_secret_that_the_line_before_it_names() -> None:
    digests = [hashlib.sha1(str(number).encode()).hexdigest() for number in range(3)]
    listed = "secret:\n" + "\n".join(digests)
    assert masked(listed) == listed
    assert masked("secret:\n" + digests[0] + "\nand more") == "secret:\n[REDACTED_SECRET]\nand more"


def test_the_slashes_of_an_address_may_be_escaped() -> None:
    assert (
        json.loads(masked(r'{"url": "https:\/\/u:OYpSqL44C651@h\/x"}'))["url"] == "https://[REDACTED_CREDENTIALS]@h/x"
    )


def test_a_key_before_another_key_is_masked_at_once() -> None:
    text = "-----BEGIN PRIVATE KEY-----\n" + "QUJD" * 14 + " x -----BEGIN PRIVATE KEY-----\n" + ("A" * 64 + "\n") * 3
    once = masked(text)
    assert once.startswith("[REDACTED_PRIVATE_KEY] x [REDACTED_PRIVATE_KEY]")
    assert masked(once) == once
