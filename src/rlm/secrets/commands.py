"""Finds secrets that only their place marks: flags of well-known commands, password hashes, parts of signed requests.

One row for each form: letters that it always has, a pattern with the secret as the group `it`, and the family.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from rlm.secrets.spans import SecretSpan
from rlm.secrets.values import is_placeholder

if TYPE_CHECKING:
    from collections.abc import Iterator

_FLAG = re.compile(r" -(?P<name>-user|-password-stdin|pass(?:in|out)?(?= pass:)|[uUpwaNAXSb])(?=(?P<joined>\w)?)")
_COMMANDS: Final = (
    # words of the command, the flag, its argument
    (("curl", "http"), "u|-user", r"[ =]{1,4}+['\"]?[^\s:'\"]{1,64}+:(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    (("curl",), "b", r" {1,4}['\"]?(?P<it>[\w.-]{1,64}=[^\n'\"]{6,4096}+)", "COOKIE"),
    (
        ("docker login", "podman login", "az login", "az acr login", "twine", "sshpass", "helm registry"),
        "p",
        r"[ =]{0,4}+['\"]?(?P<it>[^\s'\"]{3,256}+)",
        "PASSWORD",
    ),
    (("mysql", "mariadb"), "p", r"['\"]?(?P<it>[^\s'\"=-][^\s'\"]{3,256}+)", "PASSWORD"),
    (("redis-cli",), "a", r" {1,4}['\"]?(?P<it>[^\s'\"]{6,256}+)", "PASSWORD"),
    (("ldap",), "w", r" {1,4}['\"]?(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    (("ssh-keygen",), "N", r" {1,4}['\"](?P<it>[^\n'\"]{3,256}+)", "PASSWORD"),
    (("snmp",), "A", r" {1,4}['\"]?(?P<it>[^\s'\"-][^\s'\"]{7,256}+)", "PASSWORD"),
    (("snmp",), "X", r" {1,4}['\"]?(?P<it>[^\s'\"-][^\s'\"]{7,256}+)", "PASSWORD"),
    (("openssl",), "pass|passin|passout", r" pass:(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    (("htpasswd",), "b", r" {1,4}\S{1,128}+ {1,4}\S{1,64}+ {1,4}(?P<it>\S{3,256}+)", "PASSWORD"),
)
_BY_FLAG: Final = {
    flag: [
        (words, re.compile(argument), family)
        for words, flags, argument, family in _COMMANDS
        if flag in flags.split("|")
    ]
    for flag in {flag for row in _COMMANDS for flag in row[1].split("|")}
}
_ECHOED = re.compile(r"echo [\"']?(?P<it>[^\s\"']{3,128}+)[\"']? {0,4}\|[^|]*\Z")
_COMMAND_REACH: Final = 120
"""How many characters before its flag a command may stand."""

_TWO_TEXTS: Final = r"\([\"'][^'\"\n]{1,64}[\"'], {0,4}[\"'](?P<it>[^'\"\n]{3,128}+)[\"']"

_OTHERS: Final = (
    (
        "assword ",
        r"assword (?:(?:for|of) [\w.@-]{1,64}+(?: is)?:|(?:is|was)(?=:? {1,4}[^\s'\"]{0,40}[\d!@#$%^&*])"
        r":?(?! {1,4}(?:base|sha|md|utf|aes|bcrypt|argon|\d+ )))"
        r" {1,4}(?P<it>[^\s'\"]{6,128}+)",
        "PASSWORD",
    ),
    (
        "login",
        r"login(?<!\wlogin)\s{1,8}\S{1,64}+\s{1,20}password\s{1,8}(?P<it>(?=\S{0,60}[\d\W])[^\s'\"]{3,256}+)",
        "PASSWORD",
    ),
    ("requirepass", r"requirepass {1,4}(?P<it>[^\s'\"]{6,256}+)", "PASSWORD"),
    ("community", r"community (?<=snmp-server community )(?P<it>[^\s'\"]{4,64}+)", "PASSWORD"),
    ("IDENTIFIED", r"IDENTIFIED (?:WITH \w{1,40} )?BY {1,4}['\"](?P<it>[^'\"\n]{3,128}+)", "PASSWORD"),
    ("etPassword(", r"etPassword\([\"'](?P<it>[^'\"\n]{3,128}+)[\"']", "PASSWORD"),
    ("etConnection(", r"etConnection\([^()\n]{1,200}, {0,4}\"(?P<it>[^\"\n]{3,128}+)\"\)", "PASSWORD"),
    ("asicAuth(", rf"asicAuth{_TWO_TEXTS}", "PASSWORD"),
    ("login(", rf"\.login{_TWO_TEXTS}", "PASSWORD"),
    ("auth", rf"auth ?= ?{_TWO_TEXTS}", "PASSWORD"),
    ("@tcp(", r"(?<![^\s\"'`=])[\w.-]{1,64}+:(?P<it>[^\s\"'`:@]{3,256}+)@tcp\(", "PASSWORD"),
    ("oracle:thin:", r"oracle:thin:[\w.$#-]{1,64}+/(?P<it>[^\s\"'`/@]{3,128}+)@", "PASSWORD"),
    (":5432:", r"(?m:^)[^\s:]{1,128}+:5432:[^\s:]{1,64}+:[^\s:]{1,64}+:(?P<it>[^\s:]{3,256}+)(?m:$)", "PASSWORD"),
    (":*:", r"(?m:^)[^\s:]{1,128}+:[\d*]{1,5}:[^\s:]{1,64}+:[^\s:]{1,64}+:(?P<it>[^\s:]{3,256}+)(?m:$)", "PASSWORD"),
    ("WIFI:", r"WIFI:[^\n]{0,128}?;P:(?P<it>[^;\n]{3,128}+);", "PASSWORD"),
    ("$", r"\$(?:[156y]|2[abxy]|apr1|argon2(?:id|i|d)|scrypt)\$(?P<it>[./\w$,=+]{20,200}+)", "PASSWORD_HASH"),
    ("sig=", r"sig=(?<=[?&]sig=)(?P<it>[\w%+/=-]{20,1024}+)", "SIGNATURE"),
    ("Signature=", r"Signature=(?P<it>[\w%+/=-]{32,1024}+)", "SIGNATURE"),
    ("<D>", r"<D>(?P<it>[A-Za-z0-9+/=]{16,4096}+)</D>", "PRIVATE_KEY"),
)

_PLACED: Final = [
    (next((mark for mark in "(<$*=@" if mark in anchor), ""), anchor, re.compile(pattern), family)
    for anchor, pattern, family in _OTHERS
]
"""The forms, each with a rare character of its anchor: one character is searched far faster than several."""

# From the private exponent, or the key itself, to the end of the object: the primes give the key away too.
_JWK = re.compile(r"\"[dk]\": {0,4}\"(?P<it>[\w-]{16,4096}+\"[^{}\n]{0,8192}+)")
_JWK_KIND: Final = '"kty"'
_JWK_REACH: Final = 2048
_COOKIE = re.compile(
    r"(?i)cookie[\"']?: {0,4}[\"']?(?P<it>[\w.$-]{1,64}+=[^\n\"'\\;]{6,4096}+)"
    r"(?P<rest>(?:; {0,4}[\w.$-]{1,64}+=[^\n\"'\\;]{0,4096}+){0,50})"
)


def find_placed(text: str, lower: str) -> Iterator[SecretSpan]:
    """Find secrets in the forms above, JSON keys and cookies; `lower` is `text` in lower case, of the same length."""
    for mark, anchor, pattern, family in _PLACED:
        if mark not in text or anchor not in text:
            continue
        for place in pattern.finditer(text):
            if not is_placeholder(place["it"]):
                yield SecretSpan(place.start("it"), place.end("it"), family)
    yield from _flags(text)
    yield from _keys(text)
    yield from _cookies(text, lower)


def _flags(text: str) -> Iterator[SecretSpan]:
    """Find arguments of flags, where a command on the same line takes a secret by that flag."""
    for hit in _FLAG.finditer(text):
        line = text[max(0, hit.start() - _COMMAND_REACH) : hit.start()]
        command = line[line.rfind("\n") + 1 :]
        if hit["name"] in ("S", "-password-stdin"):
            echoed = _ECHOED.search(command)
            if echoed is not None and not is_placeholder(echoed["it"]):
                before = hit.start() - len(command)
                yield SecretSpan(before + echoed.start("it"), before + echoed.end("it"), "PASSWORD")
            continue
        place, family = _argument(text, hit, command)
        if place is not None and not is_placeholder(place["it"]):
            yield SecretSpan(place.start("it"), place.end("it"), family)


def _argument(text: str, flag: re.Match[str], command: str) -> tuple[re.Match[str] | None, str]:
    if flag["joined"] and flag["name"] != "p":
        return None, ""
    for words, argument, family in _BY_FLAG.get(flag["name"], ()):
        if any(word in command for word in words):
            return argument.match(text, flag.end()), family
    return None, ""


def _keys(text: str) -> Iterator[SecretSpan]:
    if _JWK_KIND not in text:
        return
    starts = [hit.end() for hit in re.finditer(_JWK_KIND, text)]
    for start, following in pairwise((*starts, len(text))):
        place = _JWK.search(text, start, min(following, start + _JWK_REACH))
        if place is not None and (whole := _JWK.match(text, place.start())) and "\n" not in text[start : place.start()]:
            yield SecretSpan(whole.start("it"), whole.end("it"), "PRIVATE_KEY")


def _cookies(text: str, lower: str) -> Iterator[SecretSpan]:
    at = lower.find("cookie")
    while at >= 0:
        end = at + 6
        if cookie := _COOKIE.match(text, at):
            end = cookie.end("it") if lower.startswith("set-", max(0, at - 4)) else cookie.end("rest")
            yield SecretSpan(cookie.start("it"), end, "COOKIE")
        at = lower.find("cookie", end)
