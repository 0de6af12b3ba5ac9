"""Finds secrets that only their place marks: flags of well-known commands, password hashes, parts of signed requests.

One row for each form: letters that it always has, a pattern with the secret as the group `it`, and the family.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rlm.secrets.spans import SecretSpan
from rlm.secrets.values import is_placeholder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.secrets.assigned import Mention

_FLAG = re.compile(
    r" -(?P<name>-user|-password-stdin|-(?:src-|dest-)?creds|pass(?:in|out)?(?= pass:)|[uUpwaNAXSbkP])"
    r"(?=(?P<joined>\w)?)"
)
_COMMANDS: Final = (
    # words of the command, the flag, its argument
    (("curl", "http"), "u|-user", r"[ =]{1,4}+['\"]?[^\s:'\"]{1,64}+:(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    (("curl",), "b", r" {1,4}['\"]?(?P<it>[\w.-]{1,64}=[^\n'\"]{6,4096}+)", "COOKIE"),
    (
        (
            "docker login",
            "podman login",
            "az login",
            "az acr login",
            "twine",
            "sshpass",
            "helm registry",
            "cqlsh",
            "snowsql",
            "az sql",
            "elasticsearch-users",
            "psexec",
            "mongosh ",
            "mongodump ",
            "mongo ",
        ),
        "p",
        r"[ =]{0,4}+['\"]?(?P<it>[^\s'\"]{3,256}+)",
        "PASSWORD",
    ),
    (("mysql", "mariadb", "7z"), "p", r"['\"]?(?P<it>[^\s'\"=-][^\s'\"]{3,256}+)", "PASSWORD"),
    (("redis-cli",), "a", r" {1,4}['\"]?(?P<it>[^\s'\"]{6,256}+)", "PASSWORD"),
    (("http ", "https "), "a", r" {1,4}['\"]?[^\s:'\"]{1,64}+:(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    (("lftp",), "u", r" {1,4}['\"]?[^\s,'\"]{1,64}+,(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    (
        ("skopeo", "crictl", "etcdctl"),
        "-user|-creds|-src-creds|-dest-creds",
        r"[ =]['\"]?[^\s:'\"]{1,64}+:(?P<it>[^\s'\"]{3,256}+)",
        "PASSWORD",
    ),
    (("ldap",), "w", r" {1,4}['\"]?(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    (("ssh-keygen",), "N", r" {1,4}['\"](?P<it>[^\n'\"]{3,256}+)", "PASSWORD"),
    (("snmp",), "A", r" {1,4}['\"]?(?P<it>[^\s'\"-][^\s'\"]{7,256}+)", "PASSWORD"),
    (("snmp",), "X", r" {1,4}['\"]?(?P<it>[^\s'\"-][^\s'\"]{7,256}+)", "PASSWORD"),
    (("openssl",), "pass|passin|passout", r" pass:(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    (("htpasswd",), "b", r"[a-zA-Z]{0,4} {1,4}\S{1,128}+ {1,4}\S{1,64}+ {1,4}(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    (("smbclient", "rpcclient"), "U", r" {0,2}['\"]?[^\s%'\"]{1,64}+%(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    (("openssl enc", "openssl aes"), "k", r" {1,4}['\"]?(?P<it>[^\s'\"]{3,256}+)", "PASSWORD"),
    (("zip", "sqlcmd", "bcp ", "ipmitool"), "P", r" {1,4}['\"]?(?P<it>[^\s'\"-][^\s'\"]{2,256}+)", "PASSWORD"),
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
        r"assword (?:(?:for|of) [\w.@-]{1,64}+(?: is)?:"
        r"|for (?:[\w.@-]{1,32}+ ){1,4}\w{1,32}+:(?= {1,4}[^\s'\"]{0,40}[\d!@#$%^&*])"
        r"|(?:is|was)(?=:? {1,4}[^\s'\"]{0,40}[\d!@#$%^&*])"
        r":?(?! {1,4}(?:base|sha|md|utf|aes|bcrypt|argon|\d+ )))"
        r" {1,4}(?P<it>[^\s'\"]{6,128}+)",
        "PASSWORD",
    ),
    (
        "login",
        r"login(?<!\wlogin)\s{1,8}\S{1,64}+\s{1,20}password\s{1,8}(?P<it>(?=\S{0,60}[\d\W])[^\s'\"]{3,256}+)",
        "PASSWORD",
    ),
    ("community", r"community (?<=snmp-server community )(?P<it>[^\s'\"]{4,64}+)", "PASSWORD"),
    ("IDENTIFIED", r"IDENTIFIED (?:WITH \w{1,40} )?BY {1,4}['\"](?P<it>[^'\"\n]{3,128}+)", "PASSWORD"),
    ("IDENTIFIED", r"IDENTIFIED BY (?P<it>[^\s'\";]{4,128}+);", "PASSWORD"),
    ("SecureString ", r"SecureString (?:-String )?[\"'](?P<it>[^\"'\n]{3,128}+)[\"']", "PASSWORD"),
    ("etConnection(", r"etConnection\([^()\n]{1,200}, {0,4}\"(?P<it>[^\"\n]{3,128}+)\"\)", "PASSWORD"),
    ("login(", rf"\.login{_TWO_TEXTS}", "PASSWORD"),
    ("@tcp(", r"(?<![^\s\"'`=])[\w.-]{1,64}+:(?P<it>[^\s\"'`:@]{3,256}+)@tcp\(", "PASSWORD"),
    ("oracle:thin:", r"oracle:thin:[\w.$#-]{1,64}+/(?P<it>[^\s\"'`/@]{3,128}+)@", "PASSWORD"),
    (":5432:", r"(?m:^)[^\s:]{1,128}+:5432:[^\s:]{1,64}+:[^\s:]{1,64}+:(?P<it>[^\s:]{3,256}+)(?m:$)", "PASSWORD"),
    (":*:", r"(?m:^)[^\s:]{1,128}+:[\d*]{1,5}:[^\s:]{1,64}+:[^\s:]{1,64}+:(?P<it>[^\s:]{3,256}+)(?m:$)", "PASSWORD"),
    ("WIFI:", r"WIFI:[^\n]{0,128}?;P:(?P<it>[^;\n]{3,128}+);", "PASSWORD"),
    (
        "$",
        r"(?P<whole>\$(?:[156y]|2[abxy]|apr1|argon2(?:id|i|d)|scrypt)\$(?P<it>[./\w$,=+]{20,200}+))",
        "PASSWORD_HASH",
    ),
    (
        ") VALUES (",
        r"\) VALUES \((?:(?<=password\) VALUES \()|(?<=passwd\) VALUES \()|(?<=secret\) VALUES \()"
        r"|(?<=token\) VALUES \())[^()\n]{0,300}'(?P<it>[^'\n]{3,128}+)'\)",
        "PASSWORD",
    ),
    ("dockerconfigjson", r"dockerconfigjson[\"']?: {0,4}[\"']?(?P<it>[A-Za-z0-9+/=]{40,4096}+)", "CREDENTIALS"),
    ("sig=", r"sig=(?<=[?&]sig=)(?P<it>[\w%+/=-]{20,1024}+)", "SIGNATURE"),
    ("Signature=", r"Signature=(?P<it>[\w%+/=-]{32,1024}+)", "SIGNATURE"),
    ("<D>", r"<D>(?P<it>[A-Za-z0-9+/=]{16,4096}+)</D>", "PRIVATE_KEY"),
)

_VALUE: Final = r"(?P<it>[^\s'\"]{3,256}+)"
_AFTER_WORDS: Final = (
    # what stands right before a mention of a secret, the mention's word in lower case, and what follows the word
    ("master", "auth", rf" {{1,4}}{_VALUE}", "PASSWORD"),
    ("require", "pass", r" {1,4}(?P<it>[^\s'\"]{6,256}+)", "PASSWORD"),
    ("et", "password", r"\([\"'](?P<it>[^'\"\n]{3,128}+)[\"']", "PASSWORD"),
    ("asic", "auth", _TWO_TEXTS, "PASSWORD"),
    ("bind", "pw", rf"[ \t]{{1,40}}+{_VALUE}(?m:$)", "PASSWORD"),
    ("root", "pw", rf"[ \t]{{1,40}}+{_VALUE}(?m:$)", "PASSWORD"),
    ("wpa_", "passphrase", r" (?:\"[^\"\n]{1,32}\"|\S{1,32}+) (?P<it>[^\s'\"]{8,63}+)", "PASSWORD"),
    ("mot de ", "passe", r" ?: {0,4}(?P<it>[^\s'\"]{4,128}+)", "PASSWORD"),
    ("> ", "pass", r"(?<=PASS) (?P<it>\S{3,256}+)(?m:$)", "PASSWORD"),
    ("C: ", "pass", r"(?<=PASS) (?P<it>\S{3,256}+)(?m:$)", "PASSWORD"),
    ("emporary ", "password", r" is generated for [\w.@-]{1,64}+: (?P<it>\S{6,128}+)", "PASSWORD"),
    ("", "auth", r"(?<=AUTH) PLAIN (?P<it>[A-Za-z0-9+/]{12,512}+={0,2})", "CREDENTIALS"),
    ("otp", "auth", r"://[^\s\"'<>]{1,200}?[?&]secret=(?P<it>[A-Z2-7]{16,128}+)", "SECRET"),
    (".", "auth", _TWO_TEXTS, "PASSWORD"),
    ("", "auth", rf" ?= ?{_TWO_TEXTS}", "PASSWORD"),
    ("Plain", "auth", r"\((?:\"[^\"\n]{0,64}\", ?){2}\"(?P<it>[^\"\n]{3,128}+)\"", "PASSWORD"),
    ("", "password", r"(?<=PASSWORD)\('(?P<it>[^'\n]{3,128}+)'\)", "PASSWORD"),
    ("change_", "password", r" \S{1,64}+ ['\"]?(?P<it>[^\s'\"]{3,128}+)", "PASSWORD"),
    ("", "password", r" [057] (?P<it>[^\s'\"]{4,128}+)(?m:$)", "PASSWORD"),
    ("", "key", r" 7 (?P<it>[0-9A-F]{8,128}+)(?m:$)", "PASSWORD"),
    ("PRAGMA ", "key", r" ?= ?['\"](?P<it>[^'\"\n]{3,128}+)", "PASSWORD"),
    ("/", "pass", rf":{_VALUE}", "PASSWORD"),
    ("isakmp ", "key", rf" {_VALUE} address", "PASSWORD"),
    ("basic_", "auth", r"\(\"[^\"\n]{1,64}\", {0,4}(?:Some\()?\"(?P<it>[^\"\n]{3,128}+)\"", "PASSWORD"),
    ("etwork", "credential", _TWO_TEXTS, "PASSWORD"),
    ("?", "auth", r"=(?P<it>[\w%.~-]{20,1024}+)", "TOKEN"),
    ("&", "auth", r"=(?P<it>[\w%.~-]{20,1024}+)", "TOKEN"),
    ("", "auth_signature", r"=(?P<it>[\w%+/=-]{20,1024}+)", "SIGNATURE"),
    ("", "session.auth", rf" ?= ?{_TWO_TEXTS}", "PASSWORD"),
    ("", "jwt.sign", r"\((?:[\w.]{1,64}|\{[^{}\n]{0,200}\}), {0,4}[\"'](?P<it>[^'\"\n]{8,256}+)[\"']", "SECRET"),
    ("", "jwt.encode", r"\((?:[\w.]{1,64}|\{[^{}\n]{0,200}\}), {0,4}b?[\"'](?P<it>[^'\"\n]{8,256}+)[\"']", "SECRET"),
    ("--", "token", r"[ =](?P<it>[a-z0-9]{6}\.[a-z0-9]{16})(?![\w.])", "TOKEN"),
    ("nseal ", "key", r" \d{1,2}: (?P<it>[A-Za-z0-9+/=]{40,64}+)", "SECRET"),
)
_BY_WORD: Final = {
    word: [(before, re.compile(rest), family) for before, each, rest, family in _AFTER_WORDS if each == word]
    for word in {row[1] for row in _AFTER_WORDS}
}
_LINES: Final = (
    (
        "machine",
        re.compile(r"(?:\A|\s)machine\s{1,8}\S{1,128}+\s{1,8}login\s{1,8}\S{1,64}+\s{1,8}\Z"),
        re.compile(rf"\s{{1,8}}{_VALUE}"),
    ),
    ("nmcli", re.compile(r"\bnmcli [^\n]{1,120}+(?<= )\Z"), re.compile(rf" ['\"]?{_VALUE}")),
)
"""A word before `password` on a line of a file of logins or a command, all that comes before it, and what follows."""
_LINE_REACH: Final = 200

_PLACED: Final = [
    (next((mark for mark in "(<$*=@" if mark in anchor), ""), anchor, re.compile(pattern), family)
    for anchor, pattern, family in _OTHERS
]
"""The forms, each with a rare character of its anchor: one character is searched far faster than several."""

_JWK_MARK: Final = '"kty'
_JWK = re.compile(r"\"kty\\{0,31}\"")
# The private exponent, or the key itself; the primes give the key away too.
_JWK_PART = re.compile(r"\"(?:[dkpq]|d[pq]|qi)\\{0,31}\": {0,4}\\{0,31}\"(?P<it>[\w-]{16,4096}+)")
_JWK_REACH: Final = 8192
_COOKIE = re.compile(
    r"(?i)cookie[\"']?: {0,4}[\"']?(?P<it>[\w.$-]{1,64}+=[^\n\"'\\;]{6,4096}+)"
    r"(?P<rest>(?:; {0,4}[\w.$-]{1,64}+=[^\n\"'\\;]{0,4096}+){0,50})"
)


def find_placed(text: str, lower: str, places: Iterable[Mention]) -> Iterator[SecretSpan]:
    """Find secrets in the forms above, JSON keys and cookies; `lower` is `text` in lower case, of the same length, and
    `places` are its mentions of secrets.
    """
    for mark, anchor, pattern, family in _PLACED:
        if mark not in text or anchor not in text:
            continue
        for place in pattern.finditer(text):
            if not is_placeholder(place["it"]):
                yield SecretSpan(*place.span("whole" if "whole" in pattern.groupindex else "it"), family)
    yield from _after_words(text, lower, places)
    yield from _flags(text)
    yield from _keys(text)
    yield from _cookies(text, lower)


def _after_words(text: str, lower: str, places: Iterable[Mention]) -> Iterator[SecretSpan]:
    """Find what follows some words that speak of a secret, where something certain comes before them."""
    for start, end in places:
        word = lower[start:end]
        for before, rest, family in _BY_WORD.get(word, ()):
            place = rest.match(text, end) if text.startswith(before, start - len(before)) else None
            if place is not None and not is_placeholder(place["it"]):
                yield SecretSpan(*place.span("it"), family)
        if word == "password" and text[start - 1 : start].isspace() and text[end : end + 1].isspace():
            place = _on_line(text, start, end)
            if place is not None and not is_placeholder(place["it"]):
                yield SecretSpan(*place.span("it"), "PASSWORD")


def _on_line(text: str, start: int, end: int) -> re.Match[str] | None:
    """What follows `password` if what comes before it calls for one."""
    reach = max(0, start - _LINE_REACH)
    for word, before, rest in _LINES:
        if text.find(word, reach, start) >= 0 and before.search(text, reach, start):
            return rest.match(text, end)
    return None


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
    if flag["joined"] and flag["name"] not in ("b", "p"):
        return None, ""
    for words, argument, family in _BY_FLAG.get(flag["name"], ()):
        if any(word in command for word in words):
            return argument.match(text, flag.end()), family
    return None, ""


def _keys(text: str) -> Iterator[SecretSpan]:
    if _JWK_MARK not in text:
        return
    starts = [hit.end() for hit in _JWK.finditer(text)]
    for before, start, following in zip([0, *starts], starts, [*starts[1:], len(text)], strict=False):
        first = max(before, start - _JWK_REACH, text.rfind("\n", before, start), text.rfind("{", before, start))
        ends = (text.find(mark, start, start + _JWK_REACH) for mark in "}\n")
        last = min(following, start + _JWK_REACH, *(end for end in ends if end >= 0))
        for place in _JWK_PART.finditer(text, first, last):
            yield SecretSpan(*place.span("it"), "PRIVATE_KEY")


def _cookies(text: str, lower: str) -> Iterator[SecretSpan]:
    at = lower.find("cookie")
    while at >= 0:
        end = at + 6
        if cookie := _COOKIE.match(text, at):
            end = cookie.end("it") if lower.startswith("set-", max(0, at - 4)) else cookie.end("rest")
            yield SecretSpan(cookie.start("it"), end, "COOKIE")
        at = lower.find("cookie", end)
