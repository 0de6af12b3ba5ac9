"""Secrets whose place alone marks them: flags of well-known commands, hashes of passwords, parts of signed requests.

One line for each form: letters that are there whenever it is, what to look for (the group `it`), and the family.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rlm.secrets.spans import Found
from rlm.secrets.values import is_placeholder

if TYPE_CHECKING:
    from collections.abc import Iterator

_FLAG: Final = " -"
_FLAGS: Final = (
    (" -u ", r" -u {1,4}['\"]?[^\s:'\"]{1,64}+:(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    (" --user", r" --user[ =]{1,4}+['\"]?[^\s:'\"]{1,64}+:(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    ("-stdin", r"echo [\"']?(?P<it>[^\s\"']{6,128}+)[\"']? {0,4}\|(?=[^\n]{0,100}--password-stdin)", "PASSWORD"),
    ("docker login", r"docker login[^\n]{0,80}? -p {0,4}(?P<it>[^\s'\"]{4,256}+)", "PASSWORD"),
    ("sshpass", r"sshpass {1,4}-p {0,4}['\"]?(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    ("redis-cli", r"redis-cli[^\n]{0,80}? -a {1,4}(?P<it>[^\s'\"]{6,256}+)", "PASSWORD"),
    ("curl ", r"curl[^\n]{0,80}? (?:-b|--cookie) {1,4}['\"]?(?P<it>[\w.-]{1,64}=[^\n'\"]{6,4096}+)", "COOKIE"),
)
"""Those of command lines, looked for only where there is a flag at all."""

_OTHERS: Final = (
    ("assword ", r"assword (?:for|of) [\w.@-]{1,64}+(?: is)?: {1,4}(?P<it>[^\s'\"]{6,128}+)", "PASSWORD"),
    ("requirepass", r"requirepass {1,4}(?P<it>[^\s'\"]{6,256}+)", "PASSWORD"),
    ("community", r"community (?<=snmp-server community )(?P<it>[^\s'\"]{4,64}+)", "PASSWORD"),
    ("IDENTIFIED", r"IDENTIFIED (?:WITH \w{1,40} )?BY {1,4}['\"](?P<it>[^'\"\n]{3,128}+)", "PASSWORD"),
    ("etPassword(", r"etPassword\([\"'](?P<it>[^'\"\n]{3,128}+)[\"']", "PASSWORD"),
    ("$", r"\$(?:[156y]|2[abxy]|apr1|argon2(?:id|i|d)|scrypt)\$(?P<it>[./\w$,=+]{20,200}+)", "PASSWORD_HASH"),
    ("sig=", r"sig=(?<=[?&]sig=)(?P<it>[\w%+/=-]{20,200}+)", "SIGNATURE"),
    ("Signature=", r"Signature=(?P<it>[\w%+/=-]{32,200}+)", "SIGNATURE"),
    ("<D>", r"<D>(?P<it>[A-Za-z0-9+/=]{16,4096}+)</D>", "PRIVATE_KEY"),
    # From the private exponent, or the key itself, to the end of the object: its primes give it away too.
    ('"kty"', r"\"kty\"[^\n]{0,2048}?\"[dk]\": {0,4}\"(?P<it>[\w-]{16,4096}+\"[^{}\n]{0,8192}+)", "PRIVATE_KEY"),
)

_COOKIE = re.compile(
    r"(?i)cookie[\"']?: {0,4}[\"']?(?P<it>[\w.$-]{1,64}+=[^\n\"'\\;]{6,4096}+)"
    r"(?P<rest>(?:; {0,4}[\w.$-]{1,64}+=[^\n\"'\\;]{0,4096}+){0,50}+)"
)


def find_placed(text: str, lower: str) -> Iterator[Found]:
    """Secrets in the forms above, and cookies; `lower` is `text` in lower case, of the same length."""
    for anchor, pattern, family in (*(_FLAGS if _FLAG in text else ()), *_OTHERS):
        if anchor not in text:
            continue
        for place in re.finditer(pattern, text):
            if not is_placeholder(place["it"]):
                yield Found(place.start("it"), place.end("it"), family)
    at = lower.find("cookie")
    while at >= 0:
        if cookie := _COOKIE.match(text, at):
            end = cookie.end("it") if lower.startswith("set-", max(0, at - 4)) else cookie.end("rest")
            yield Found(cookie.start("it"), end, "COOKIE")
        at = lower.find("cookie", at + 6)
