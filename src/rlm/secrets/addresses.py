"""Credentials inside addresses: users and passwords, whole database addresses, webhooks that are secrets themselves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rlm.secrets.spans import SecretSpan
from rlm.secrets.values import is_placeholder, is_random

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATABASES: Final = (
    "postgres", "mysql", "mariadb", "mongodb", "redis", "valkey", "mssql", "sqlserver", "oracle", "clickhouse",
    "cockroach", "snowflake", "redshift", "cassandra", "couchbase", "couchdb", "neo4j", "bolt", "influxdb", "db2",
    "firebird", "trino",
)  # fmt: skip
_SCHEME_CHARS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.:"
_SLASHES: Final = ("://", ":\\/\\/")
"""What begins the host of an address; some write JSON with its slashes escaped."""
_USERINFO = re.compile(r"(?P<user>[^\s/@:\"'<>\\]{0,256}+)(?::(?P<password>[^\s/@\"'<>\\]{1,512}+))?@(?=[\w\[/])")
_REST = re.compile(r"[^\s\"'`<>\\,;)\]}]{0,2048}+")
_WEBHOOKS: Final = tuple(
    (anchor, re.compile(path), family)
    for anchor, path, family in (
        (
            "hooks.slack.com/",
            r"(?:services|workflows|triggers)/(?P<path>[A-Za-z0-9]{8,14}/[A-Za-z0-9]{8,14}/(?:\d{10,24}/)?\w{20,60}+)",
            "SLACK_WEBHOOK",
        ),
        ("/api/webhooks/", r"\d{15,21}/(?P<path>[\w-]{40,90}+)", "DISCORD_WEBHOOK"),
        (".webhook.office.com/", r"webhookb2/(?P<path>[\w@/-]{60,300}+)", "TEAMS_WEBHOOK"),
        ("outlook.office.com/webhook/", r"(?P<path>[\w@/-]{60,300}+)", "TEAMS_WEBHOOK"),
        ("hooks.zapier.com/", r"hooks/catch/(?P<path>\d{5,10}/\w{5,12}+)", "ZAPIER_WEBHOOK"),
    )
)


def find_addresses(text: str) -> Iterator[SecretSpan]:
    """Find the credentials in addresses."""
    for slashes in _SLASHES if "\\" in text else _SLASHES[:1]:
        at = text.find(slashes)
        while at >= 0:
            found = _credentials(text, at, at + len(slashes))
            if found is not None:
                yield found
            at = text.find(slashes, at + len(slashes) if found is None else found.end)
    for anchor, pattern, family in _WEBHOOKS if "hook" in text else ():
        at = text.find(anchor)
        while at >= 0:
            place = pattern.match(text, at + len(anchor))
            if place is not None and not is_placeholder(place["path"]):
                yield SecretSpan(_address_start(text, at), place.end("path"), family)
            at = text.find(anchor, at + len(anchor))


def _credentials(text: str, at: int, user: int) -> SecretSpan | None:
    """The credentials that begin at `user`, in the address whose scheme ends at `at`."""
    place = _USERINFO.match(text, user)
    if place is None:
        return None
    scheme = text[_start(text, at) : at].lower()
    secret = place["password"] if place["password"] is not None else place["user"]
    if is_placeholder(secret) or (place["password"] is None and not is_random(secret)):
        return None
    if any(name in scheme for name in _DATABASES):
        rest = _REST.match(text, place.end())
        assert rest is not None
        return SecretSpan(at - len(scheme), rest.end(), "DATABASE_URL")
    return SecretSpan(user, place.end() - 1, "CREDENTIALS")


def _address_start(text: str, at: int) -> int:
    """The start of the address whose host or path is at `at`."""
    slashes = text.rfind("://", max(0, at - 80), at)
    return at if slashes < 0 or not text[slashes + 3 : at].isprintable() else _start(text, slashes)


def _start(text: str, end: int) -> int:
    """The start of the scheme that ends at `end`."""
    head = text[max(0, end - 30) : end]
    return end - len(head) + len(head.rstrip(_SCHEME_CHARS))
