"""Secrets in what people write to each other."""

from __future__ import annotations

import pytest

from rlm.secrets import mask_secrets


@pytest.mark.parametrize(
    "said",
    [
        "the staging password is now «Sommer!2024»",
        "pw was '«k4tze_Haus»', changed since",
        "Das Kennwort lautet «Wolke77!»",
        "your passcode has been reset to «Qx7#mm2p»",
        "try with «Gans#4711» as the password",
        "the creds: kim / «Gans#4711»",
        "пароль: «Wolke77!»",
        "パスワードは «Wolke77!»",
        "backup codes: «a1b2c-d3e4f g5h6i-j7k8l»",
        "mnemonic is «able acid ankle apple arrow badge beach below bench bird blade brave»",
    ],
)
def test_what_is_said_to_be_a_secret_is_masked(said: str) -> None:
    before, secret, after = said.replace("»", "«").split("«")
    masked = mask_secrets(said.replace("«", "").replace("»", ""))
    assert secret not in masked
    assert masked.startswith(before)
    assert masked.endswith(after)


@pytest.mark.parametrize(
    "said",
    [
        "the password is 12 characters long",
        "the password is sha256-hashed before it is stored",
        "the password was changed on 2026-03-01",
        "the password is required for logins / sessions",
        "use name1 as the user",
        "the backup code runs daily at 0200",
        "the seed is 1234567, the mnemonic is easy to remember",
        "creds: ask operations / support, 24/7",
        "пароль: забыт",
    ],
)
def test_what_is_said_about_secrets_stays(said: str) -> None:
    assert mask_secrets(said) == said
