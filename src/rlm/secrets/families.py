"""Finds tokens that their issuers mark with a prefix or a shape of their own, whatever stands around them.

The text is searched for prefixes, and a pattern is tried only after its prefix. A pattern is a bounded run of one class
of characters, so that no text makes it backtrack or read far.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from rlm.secrets.prefixes import any_of
from rlm.secrets.spans import SecretSpan
from rlm.secrets.values import NAME_RUNS, is_placeholder, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD: Final = r"[A-Za-z0-9_\-]"
_ALNUM: Final = r"[A-Za-z0-9]"
_BASE64: Final = r"[A-Za-z0-9+/=_\-]"

_ENCODED_KINDS: Final = "BQUklW|BSU0EgUF|BFQyBQ|BPUEVOU1NI|BFTkNSWVBU|BEU0EgUF|BQR1AgUF"

_FORMS: Final = (
    # family, prefix, what follows it
    ("API_KEY", "sk-ant-", rf"{_WORD}{{20,512}}+"),
    (
        "API_KEY",
        "sk-",
        rf"{_WORD}{{20,512}}+",
    ),
    *(
        ("API_KEY", f"{kind}_{mode}_", rf"{_ALNUM}{{16,512}}+")
        for kind in ("sk", "rk")
        for mode in ("live", "test", "prod")
    ),
    ("SECRET", "whsec_", r"[A-Za-z0-9+/=]{24,512}+"),
    ("API_KEY", "AIza", rf"{_WORD}{{35}}(?!{_WORD})"),
    ("GCP_TOKEN", "ya29.", r"[A-Za-z0-9_\-.]{20,2048}+"),
    ("GCP_TOKEN", "1//0", rf"{_WORD}{{40,512}}+"),
    ("GCP_SECRET", "GOCSPX-", rf"{_WORD}{{28}}(?!{_WORD})"),
    *(("AWS_ACCESS_KEY", kind, rf"[A-Z2-7]{{16}}(?!{_ALNUM})") for kind in ("AKIA", "ASIA", "ABIA", "ACCA")),
    ("AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2Vj", rf"{_BASE64}{{60,4096}}+"),
    *(("GITHUB_TOKEN", f"gh{kind}_", rf"{_ALNUM}{{36,512}}+") for kind in "pousr"),
    ("GITHUB_TOKEN", "github_pat_", r"\w{40,512}+"),
    *(
        ("GITLAB_TOKEN", f"gl{kind}-", r"[A-Za-z0-9_\-.]{20,512}+")
        for kind in ("pat", "dt", "rt", "cbt", "ptt", "oas", "ft", "soat", "imt", "agent")
    ),
    *(
        ("SLACK_TOKEN", f"xox{kind}", r"[A-Za-z0-9\-.]{20,512}+")
        for kind in ("b-", "p-", "a-", "r-", "s-", "c-", "d-", "e-", "e.")
    ),
    ("SLACK_TOKEN", "xapp-", r"\d-[A-Za-z0-9\-]{20,512}+"),
    ("API_KEY", "SK", r"[0-9a-f]{32}(?![0-9A-Za-z])"),
    ("API_KEY", "SG.", rf"{_WORD}{{16,32}}+\.{_WORD}{{32,64}}+"),
    ("API_KEY", "key-", r"[0-9a-f]{32}(?![0-9A-Za-z])"),
    ("NPM_TOKEN", "npm_", rf"{_ALNUM}{{36}}(?!{_ALNUM})"),
    ("PYPI_TOKEN", "pypi-", rf"AgE{_WORD}{{50,512}}+"),
    ("HF_TOKEN", "hf_", rf"{_ALNUM}{{30,512}}+"),
    ("HF_TOKEN", "api_org_", rf"{_ALNUM}{{30,512}}+"),
    ("DATABRICKS_TOKEN", "dapi", r"[0-9a-f]{32}(?:-\d)?(?![0-9A-Za-z])"),
    ("DOCKER_TOKEN", "dckr_pat_", rf"{_WORD}{{20,512}}+"),
    ("DOCKER_TOKEN", "dckr_oat_", rf"{_WORD}{{20,512}}+"),
    ("RUBYGEMS_TOKEN", "rubygems_", r"[0-9a-f]{48}(?![0-9A-Za-z])"),
    *(("DIGITALOCEAN_TOKEN", f"do{kind}_v1_", r"[0-9a-f]{64}") for kind in "opr"),
    *(("SHOPIFY_TOKEN", f"shp{kind}_", r"[0-9a-fA-F]{32}") for kind in ("at", "ca", "pa", "ss")),
    ("API_KEY", "lin_api_", rf"{_ALNUM}{{32,512}}+"),
    ("API_KEY", "pplx-", rf"{_ALNUM}{{40,512}}+"),
    ("API_KEY", "gsk_", rf"{_ALNUM}{{40,512}}+"),
    ("API_KEY", "xai-", rf"{_ALNUM}{{60,512}}+"),
    ("API_KEY", "r8_", rf"{_ALNUM}{{37,512}}+"),
    ("API_KEY", "fw_", rf"{_ALNUM}{{24,512}}+"),
    ("API_KEY", "nvapi-", rf"{_WORD}{{40,512}}+"),
    ("API_KEY", "PMAK-", r"[0-9a-f]{24}-[0-9a-f]{34}"),
    ("API_KEY", "NRAK-", r"[A-Z0-9]{27}(?![A-Z0-9])"),
    ("GRAFANA_TOKEN", "glsa_", rf"{_ALNUM}{{32}}_[0-9a-fA-F]{{8}}"),
    ("GRAFANA_TOKEN", "glc_", r"[A-Za-z0-9+/=]{32,512}+"),
    ("SENTRY_TOKEN", "sntrys_", rf"{_BASE64}{{40,512}}+"),
    ("SENTRY_TOKEN", "sntryu_", r"[0-9a-f]{64}"),
    ("TERRAFORM_TOKEN", "atlasv1.", rf"{_WORD}{{50,512}}+"),
    ("VAULT_TOKEN", "hvs.", rf"{_WORD}{{24,512}}+"),
    ("VAULT_TOKEN", "hvb.", rf"{_WORD}{{24,512}}+"),
    ("NOTION_TOKEN", "secret_", rf"{_ALNUM}{{43}}(?!{_ALNUM})"),
    ("NOTION_TOKEN", "ntn_", rf"{_ALNUM}{{40,512}}+"),
    ("FIGMA_TOKEN", "figd_", rf"{_WORD}{{36,512}}+"),
    ("ATLASSIAN_TOKEN", "ATATT3", rf"{_BASE64}{{60,512}}+"),
    ("FACEBOOK_TOKEN", "EAAC", rf"{_ALNUM}{{60,512}}+"),
    ("SQUARE_TOKEN", "sq0csp-", rf"{_WORD}{{43}}"),
    ("SQUARE_TOKEN", "sq0atp-", rf"{_WORD}{{22}}"),
    ("SONAR_TOKEN", "squ_", r"[0-9a-f]{40}"),
    ("PULUMI_TOKEN", "pul-", r"[0-9a-f]{40}"),
    ("PLANETSCALE_TOKEN", "pscale_", rf"(?:tkn|pw|oauth)_{_WORD}{{32,512}}+"),
    ("DOPPLER_TOKEN", "dp.pt.", rf"{_ALNUM}{{40,512}}+"),
    ("PRIVATE_KEY", "AGE-SECRET-KEY-1", r"[A-Z0-9]{58}"),
    # "-----BEGIN ... PRIV" in base64, as cluster configurations hold it
    ("PRIVATE_KEY", "LS0tLS1CRUdJTi", rf"(?:{_ENCODED_KINDS})[A-Za-z0-9+/]{{40,16384}}+={{0,2}}"),
    ("API_KEY", "xkeysib-", r"[0-9a-f]{64}-[A-Za-z0-9]{16}"),
    ("API_KEY", "shippo_live_", r"[0-9a-f]{40}"),
    ("API_KEY", "tskey-", rf"[a-z]{{3,8}}-{_WORD}{{20,128}}+"),
    ("API_KEY", "EZAK", rf"{_ALNUM}{{54}}(?!{_ALNUM})"),
    ("API_KEY", "AQ.Ab8RN6", rf"{_WORD}{{36,128}}+"),
    ("API_KEY", "amzn.mws.", r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    ("API_KEY", "cfut_", rf"{_ALNUM}{{40,128}}+"),
    ("API_KEY", "sbp_", r"[0-9a-f]{40}"),
    ("API_KEY", "nfp_", rf"{_ALNUM}{{36,128}}+"),
    ("API_KEY", "rnd_", rf"{_ALNUM}{{28}}(?!{_ALNUM})"),
    ("API_KEY", "CCIPAT_", rf"{_ALNUM}{{20,24}}_[0-9a-f]{{40}}"),
    (
        "JWT",
        "eyJ",
        rf"{_WORD}{{8,1024}}+\.{_WORD}{{0,8192}}+\.{_WORD}{{0,8192}}+(?:\.{_WORD}{{1,8192}}+){{0,2}}",
    ),
    ("TELEGRAM_TOKEN", ":AA", rf"{_WORD}{{33}}(?!{_WORD})"),
)
"""The form that each issuer uses; the longer of two prefixes comes first."""

_AFTER: Final = {prefix: (family, re.compile(rest)) for family, prefix, rest in _FORMS}
_JOINTS: Final = "_-."
_LONE: Final = [prefix for prefix in _AFTER if prefix[-1] not in _JOINTS]
_FIRST = Counter(prefix[0] for prefix in _LONE)
# A capital is rare, and a pattern that begins with a fixed letter is searched as fast as that letter.
_CAPITALS: Final = [
    re.compile(any_of(prefix for prefix in _LONE if prefix[0] == first))
    for first, count in _FIRST.items()
    if first.isupper() and count > 1
]
# The other prefixes, one by one: small letters are everywhere, and one pattern for all would stop at each.
_SINGLE: Final = [*(each for each in _LONE if each[0].islower() or _FIRST[each[0]] == 1), "whsec_", "sntrys_", "glc_"]
# Most prefixes end in a joint (`_`, `-`) with a long word after it, which is rare: the fastest thing to search for.
_JOINT: Final = [re.compile(re.escape(joint) + r"(?=[A-Za-z0-9_\-]{16})") for joint in _JOINTS]
_JOINED: Final = [prefix for prefix in sorted(_AFTER, key=len, reverse=True) if prefix[-1] in _JOINTS]
_BY_END: Final = {end: [each for each in _JOINED if each.endswith(end)] for end in {each[-3:] for each in _JOINED}}
_DISCORD = re.compile(rf"\.{_WORD}{{6}}\.{_WORD}{{27,45}}+")
_DISCORD_HEAD = re.compile(rf"(?<!{_WORD})[MNO]{_WORD}{{22,27}}\Z")
_TELEGRAM_HEAD = re.compile(r"(?<!\d)\d{8,12}\Z")


def find_tokens(text: str) -> Iterator[SecretSpan]:
    """Find the tokens with an issuer's prefix or shape."""
    by_letter = (_matches(text, pattern) for pattern in _CAPITALS)
    by_joint = (_joints(text, pattern) for pattern in _JOINT)
    for hits in (*by_letter, *by_joint, *(_each(text, prefix) for prefix in _SINGLE if prefix in text)):
        done = 0
        for prefix, end in hits:
            if end < done:  # already read: a text of nothing but prefixes would be read again for each
                continue
            family, rest = _AFTER[prefix]
            start = _start(text, prefix, end)
            place = rest.match(text, end) if start >= 0 else None
            if place is not None:
                done = place.end()
                if _is_token(text[start:done], prefix):
                    yield SecretSpan(start, done, family)
    yield from _discord(text)


def _matches(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    """The prefixes and their ends, in order."""
    for hit in pattern.finditer(text):
        yield hit[0], hit.end()


def _each(text: str, prefix: str) -> Iterator[tuple[str, int]]:
    at = text.find(prefix)
    while at >= 0:
        yield prefix, at + len(prefix)
        at = text.find(prefix, at + len(prefix))


def _joints(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    for hit in pattern.finditer(text):
        end = hit.end()
        for prefix in _BY_END.get(text[end - 3 : end], ()):
            if text.startswith(prefix, end - len(prefix)):
                yield prefix, end
                break


def _start(text: str, prefix: str, end: int) -> int:
    """The start of the token whose prefix ends at `end`; -1 if it is in the middle of a word."""
    start = end - len(prefix)
    if prefix == ":AA":
        return _head(_TELEGRAM_HEAD, text, start)
    return -1 if _continues(text, start) else start


def _is_token(value: str, prefix: str) -> bool:
    """Whether `value` is a token, not a placeholder or a name with dashes that happens to begin like a key."""
    named = prefix == "sk-" and runs(value[:120]) < NAME_RUNS
    return not named and not is_placeholder(value)


def _discord(text: str) -> Iterator[SecretSpan]:
    for hit in _DISCORD.finditer(text):
        start = _head(_DISCORD_HEAD, text, hit.start())
        if start >= 0:
            yield SecretSpan(start, hit.end(), "DISCORD_TOKEN")


def _head(pattern: re.Pattern[str], text: str, end: int) -> int:
    """The start of the part that ends at `end`; -1 if it isn't there."""
    place = pattern.search(text, max(0, end - 30), end)
    return -1 if place is None else place.start()


def _continues(text: str, start: int) -> bool:
    """Whether `start` is in the middle of a word; the n of an escaped newline doesn't count as one."""
    before = text[start - 1 : start]
    if not (before.isalnum() or before == "_"):
        return False
    return not (before in "nrt" and text[start - 2 : start - 1] == "\\")
