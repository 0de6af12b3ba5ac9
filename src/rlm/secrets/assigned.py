"""Finds values that a name calls a secret: assignments in code and shells, JSON, YAML, TOML, XML, flags, headers, URLs.

Names are found by a few letters that each of them has. What follows is read once, forward, within a line and a limit,
and judged by its first 256 characters; the rest of a long secret is masked with them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from rlm.secrets.names import STRICT, family_of, names_one, says_no_key
from rlm.secrets.spans import LABEL_START, SecretSpan
from rlm.secrets.values import (
    HEAD_CHARS,
    is_cache_key,
    is_digest,
    is_fact,
    is_mixed,
    is_name,
    is_place,
    is_placeholder,
    is_prose,
    is_random,
    is_version,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Mention: TypeAlias = tuple[int, int]
"""The start of a word that may speak of a secret, and the end of the name that it stands in."""

VALUE_CHARS: Final = 4096
"""The length to which a value is masked for its name; the rest of a longer one is masked only if it looks secret."""
_LEAST: Final = {"PASSWORD": 3, "PASSWORD_HASH": 20, "PIN": 4}
"""The least characters of a secret under a name of the family; 8 for the other families."""
MOST_NESTED: Final = 4
"""How many names are looked at within one unbroken text that is itself the value of a name: `key=a:key=b:key=c`."""
_NAME_CHARS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
_NAME_REACH: Final = 40

# One pattern each: one that begins with a fixed letter is searched as fast as that letter, one for all is far slower.
_STEMS: Final = [
    re.compile(stem + r"[\w.\-]{0,24}+(?![/\w.\-])")
    for stem in (
        "auth", "bearer", "c(?:ontrase.a|red)", "jwt", "ke(?:y|nnwort)", "p(?:ass|wd|sk|(?:in|w)(?![a-z]))",
        r"s(?:e(?:cret|nha|ss)|id\b)", "token", "w(?:achtwoord|ebhook)",
    )
]  # fmt: skip
_LOWER_LABEL: Final = LABEL_START.lower()
_CLOUD: Final = "aws:secretsmanager:"
_ASSIGN = re.compile(
    r"(?P<close>\\{0,31}[\"'`]|\*\*?)?\]?(?:[ \t]\([a-z ]{1,20}\)(?=:))?"
    r"(?:[ \t]{0,80}+(?P<sign>=>|<<<|<-|%(?:22%)?3[AaDd](?:%22)?|As[ \t]String[ \t]=|:=|===?|!==?|\?=|\+="
    r"|=(?![A-Za-z_.\-]{1,24}=[^=\s&;,\"'])"  # in `key=key=value` the last name decides
    r"|:[ \t]{0,4}[A-Za-z&][\w.\[\]<>]{0,40}+(?:[ \t]\|[ \t]\w{1,20}+)?[ \t]{0,4}=[ \t]{0,4}(?=[fFbBrR]{0,2}[\"'`])"
    r"|:[ \t]{1,4}[|>][+-]?[ \t]{0,4}\r?\n(?=[ \t])[ \t]{0,40}"  # a block of YAML
    r"|:(?!:|[ \t]{0,8}\{[ \t]{0,8}[\"']value))\*{0,2}[ \t]{0,80}+(?:(?:!!str|&[\w-]{1,30})[ \t]{1,4}+)?"
    r"|(?P<tag></key>[ \t]{0,8}+(?:\r?\n[ \t]{0,40}+)?<string>|>)(?=[^<>\n]{1,200}</)"
    r"|(?P<entity>&gt;)(?=[^<>&\n]{1,200}&lt;/)"
    r"|[ \t]{0,8}+(?::[ \t]{0,8}+(?=\{))?[,{]?[ \t]{0,8}+(?:\"Type\": {0,4}\"SecureString\", {0,4})?"
    r"(?:\r?\n[ \t]{0,40}+)?"
    r"[\"']?(?P<attr>[A-Za-z]{0,12}[vV]alue|default|v(?=[\"']))[\"']?[ \t]{0,4}+(?::|=(?=[ \t]{0,4}[\"']))[ \t]{0,4}+"
    r"|(?P<pair>,)[ \t]{0,24}+(?=['\"])"
    r"|[ \t]{0,80}+(?P<column>\|)[ \t]{0,80}+"
    r"|[ \t]{1,40}+(?:string[ \t]{0,4}+=[ \t]{0,4}+)?(?P<gap>(?=\S)))"
)
_BARE_WORD: Final = 6
"""The least letters of a password in the middle of a line, without quotes."""
_AROUND: Final = ("", " ", "\t", "\n", "\r", "'", '"', "&", "?", "\\")
_LINE_ENDS: Final = ("", "\n", "\r", ";")
_NO_VALUE: Final = ("; ", ") ", ", ")
"""The beginnings of what stands between two texts in quotes, not in them."""
_BECOMES: Final = '" -> "'
"""What stands between the old and the new value in the plan of a change."""
_QUOTED_ONLY: Final = ("==", "===", "!=", "!==", "<-")
"""Signs after which a value without quotes is an expression."""
_OPEN = re.compile(
    r"(?:![a-z]\w{0,20} |(?:Some|Secret(?:Str|String)?|String::from)\()?[fFbBrRuUN@$]{0,2}(\\{0,31}[\"'`])"
)
"""The start of a quoted value; within JSON in JSON its quote has 1, 3, 7, 15 or 31 backslashes."""
_QUOTES = re.compile(r"(\\*+)([\"'`])")
_BARE: Final = r"[^\s\"'`,;&<>(){}\[\]|\\]"
_YAML: Final = r"[^\s\"'`,;<>(){}\[\]|\\]"
_SHELL: Final = r"[^\s\"'`\\]"
_HEADS: Final = {chars: re.compile(rf"{chars}{{1,{HEAD_CHARS}}}+") for chars in (_BARE, _YAML, _SHELL)}
_RESTS: Final = {chars: re.compile(rf"{chars}{{0,{VALUE_CHARS}}}+") for chars in (_BARE, _YAML, _SHELL)}
_STURDY = re.compile(r"(?=\D{0,60}\d)(?=[^!@#$%^&*?+=]{0,60}[!@#$%^&*?+=])\S{8,64}+")
"""A password with a digit and a sign."""
_PLAIN = re.compile(r"[\w-]+")
_INDEXED = re.compile(r"[A-Za-z_][A-Za-z_.]{0,60}+[(\[]")
_CODE = re.compile(r",[\w.$]+[=.(]|&\w+=")
"""Matches the middle of code, or of a query, without blanks: `a.value,b.token=c(`."""
_ENCODED = re.compile(r"[\w.~!*+-]{1,256}+")
"""A value in an address that is encoded as a whole."""
_WORDS = re.compile(r"[a-z]{4}(?: [a-z]{4}){3}(?=[\r\n]|\Z)")
"""An app password, as a large mail provider hands them out."""
_SCHEME = re.compile(
    r"(?i)[fFbB]?[\"']?(?P<scheme>bearer|basic|token|apikey|api-key|bot|digest|negotiate|aws4-hmac-sha256)[ \t]{1,4}+"
)
_LONG = re.compile(r"[\"'`]|\S{16}|(?=\S{0,15}[0-9])\S{8}|[A-Za-z0-9]{8,64}+;?(?=\r?\n|\Z)")
"""The start of a value with neither a sign nor a flag before it."""
_WHOLE_LINE = re.compile(r"[^\n\\]{8,2048}+")
_ONE_WORD = re.compile(r"[^\s\"'`,;\\]{8,4096}+")


class _Name(NamedTuple):
    start: int
    end: int
    family: str


class _Value(NamedTuple):
    start: int
    end: int
    quoted: bool
    lone: bool
    """Whether the value ends its line, or a parameter of a query or a connection string: no code follows."""
    chars: str = ""
    """The pattern of the characters of an unquoted value, by which it goes on beyond its head."""
    family: str = ""
    """The family of a value whose scheme shows that it is a secret; empty otherwise."""


def mentions(lower: str) -> list[Mention]:
    """The places where a text in lower case may speak of a secret, in order."""
    places: list[Mention] = []
    for start, end in sorted(hit.span() for stem in _STEMS for hit in stem.finditer(lower)):
        if not places or start >= places[-1][1]:
            places.append((start, end))
    if _LOWER_LABEL not in lower and _CLOUD not in lower:
        return places
    return [place for place in places if not _is_aside(lower, place[0])]


def find_assigned(text: str, places: Iterable[Mention]) -> Iterator[SecretSpan]:
    """Find the values whose name calls them a secret; `places` are the mentions in the text."""
    done = inside = nested = 0
    for at, end in places:
        if at < done:
            continue
        nested = nested + 1 if at < inside else 0
        sign = None if nested > MOST_NESTED else _ASSIGN.match(text, end)
        name = None if sign is None else _name(text, at, end, sign)
        if sign is None or name is None:
            continue
        value = _value(text, name, sign)
        if value is not None and _is_secret(text, name, sign, value):
            done = _whole_end(text, value)
            family = value.family or ("API_KEY" if name.family == "KEY" else name.family)
            yield SecretSpan(value.start, done, family)
            if text.startswith(_BECOMES, done) and (opened := _OPEN.match(text, done + len(_BECOMES) - 1)):
                later = _quoted(text, opened)
                if accepted(text[later.start : min(later.end, later.start + HEAD_CHARS)], name.family):
                    done = later.end
                    yield SecretSpan(later.start, done, family)
        elif value is not None and not value.quoted:
            inside = value.end


def accepted(value: str, family: str, *, quoted: bool = True) -> bool:
    """Whether `value`, under a name of that family, is a secret rather than a stand-in for one."""
    if len(value) < _LEAST.get(family, 8):
        return False
    if is_placeholder(value) or is_place(value) or value.startswith((LABEL_START, "{")) or names_one(value):
        return False
    if family == "PASSWORD":
        return not is_prose(value) and not is_version(value)
    if family == "PIN":
        return value.isdigit() and len(value) <= 8
    if family == "PASSWORD_HASH":
        return True
    if " " in value:
        return quoted and not is_prose(value) and (family == "SECRET" or (family not in STRICT and is_random(value)))
    if family in STRICT:
        return is_random(value) and not is_digest(value) and not is_cache_key(value)
    if family == "SECRET" and (value.isdigit() or (quoted and value.isalpha())):
        return True
    return not is_fact(value) and (is_mixed(value) or is_digest(value) or (quoted and is_random(value)))


def _is_aside(lower: str, at: int) -> bool:
    """Whether the place is in a label, or in the name under which a cloud keeps a secret: no secret follows either."""
    begin = lower.rfind(_LOWER_LABEL, max(0, at - 50), at)
    return (begin >= 0 and "]" not in lower[begin:at]) or _CLOUD in lower[max(0, at - 50) : at]


def _name_start(text: str, at: int) -> int:
    before = text[max(0, at - _NAME_REACH) : at]
    return at - len(before) + len(before.rstrip(_NAME_CHARS))


def _name(text: str, at: int, end: int, sign: re.Match[str]) -> _Name | None:
    """The name that the mention is in; None if it doesn't call its value a secret, or too little follows to be one."""
    start = _name_start(text, at)
    is_apart = sign["gap"] is not None and text[start] != "-" and not _is_env(text, start)
    if is_apart and not _LONG.match(text, sign.end()):
        return None
    family = family_of(text[start:end].strip(".-"))
    return None if family is None else _Name(start, end, family)


def _is_secret(text: str, name: _Name, sign: re.Match[str], value: _Value) -> bool:
    if value.family:
        return True
    if sign["sign"] in _QUOTED_ONLY and not value.quoted:
        return False
    if value.quoted and text[value.start - 1] == "`" and " " in text[value.start : value.end]:  # a command
        return False
    held = text[value.start : min(value.end, value.start + HEAD_CHARS)]
    if sign["gap"] is not None and not _is_joined(text, name, sign, held, quoted=value.quoted):  # the cheaper test
        return False
    if not accepted(held, name.family, quoted=value.quoted) or held.startswith(_NO_VALUE):
        return False
    if not value.quoted and _is_code_like(held, value.lone) and not _is_bare_word(text, name, sign, value):
        return False
    is_joined = sign["gap"] is not None or _is_joined(text, name, sign, held, quoted=value.quoted)
    return is_joined and not _is_other_key(text, name)


def _is_bare_word(text: str, name: _Name, sign: re.Match[str], value: _Value) -> bool:
    """Whether a password of letters alone, in the middle of a line, stands where code has no variable: after a flag,
    close to its `=` or `:` with blanks or quotes around, or among the lower-case words of a mapping in YAML."""
    held, joint = text[value.start : value.end], text[sign.end("close") if sign["close"] else name.end : value.start]
    before, after = text[name.start - 1 : name.start], text[value.end : value.end + 1]
    if name.family != "PASSWORD" or not held.isalnum() or len(held) < _BARE_WORD:
        return False
    if text.startswith("-", name.start):
        return joint in ("=", " ") and after in _AROUND
    if joint == "=":
        return before in _AROUND and (after in _AROUND or (after in (",", "}", "]") and _in_printed(text, name.start)))
    if joint == ":":
        return before == " " and after in (" ", "}")
    begins = before in ("[", "{") or text[name.start - 2 : name.start] in (", ", "{ ")
    in_mapping = joint == ": " and begins and after in (",", "}", "]", " ")
    return in_mapping and held.islower() and len(held) > _BARE_WORD + 1


def _in_printed(text: str, start: int) -> bool:
    """Whether a place is in an object as logs print it, `Settings{user=..., password=...}`, not in the call of code."""
    line = text[max(text.rfind("\n", max(0, start - 200), start), start - 200, -1) + 1 : start]
    opened = max(line.rfind(mark) for mark in "{[")
    return opened > line.rfind("(")


def _is_joined(text: str, name: _Name, sign: re.Match[str], held: str, *, quoted: bool) -> bool:
    """Whether name and value belong together, by what stands between them or by the look of the value."""
    if sign["gap"] is not None:
        if _is_env(text, name.start):
            return True
        if text.startswith("-", name.start):
            return _is_argument(held)
        return (
            _stands_out(held, quoted=quoted)
            or _is_quoted_word(text, name, sign, held, quoted=quoted)
            or _is_directive(text, name, sign, held)
        )
    if sign["pair"]:
        called = text[max(0, name.start - 2) : name.start - 1] in ("(", "{") or text.startswith("-", name.start)
        return called or is_random(held) or not _PLAIN.fullmatch(held)
    if sign["column"] or (text[name.start : name.end].lower() == "pass" and (not quoted or " " in held)):
        return is_mixed(held)
    return True


def _is_quoted_word(text: str, name: _Name, sign: re.Match[str], held: str, *, quoted: bool) -> bool:
    """Whether a password of letters alone stands in quotes right after the word for it."""
    alone = not sign["close"] and text[name.start - 1 : name.start] in ("", " ", "\n", "\t", "(", ":")
    alone = alone and text[sign.end()] != "`" and text[name.start : name.end].lower() != "pass"  # the verb
    is_one = held.isalnum() or _STURDY.fullmatch(held) is not None
    return quoted and alone and name.family == "PASSWORD" and is_one and len(held) >= _BARE_WORD


def _is_directive(text: str, name: _Name, sign: re.Match[str], held: str) -> bool:
    """Whether a setting's name of several words and its value end a line: `ssl_passphrase hunter22`, `wpa-psk word`."""
    called = text[name.start : name.end]
    after = text[sign.end() + len(held) : sign.end() + len(held) + 1]
    if name.family not in ("PASSWORD", "SECRET") or after not in _LINE_ENDS or not held.isalnum():
        return False
    is_compound = "_" in called or "-" in called or not (called.islower() or called.istitle())
    return is_compound and (any(map(str.isdigit, held)) or after == ";" or called.endswith("psk"))


def _is_env(text: str, start: int) -> bool:
    """Whether only blanks join the name to its value: `ENV NAME value` of a Dockerfile, `#define NAME "value"`."""
    return text.startswith("ENV ", max(0, start - 4)) or text.startswith("#define ", max(0, start - 8))


def _is_other_key(text: str, name: _Name) -> bool:
    """Whether the name is a key into a table or a cache."""
    if name.family != "KEY":
        return False
    words = text[max(0, name.start - 16) : name.start].split()
    return bool(words) and text[name.start - 1] == " " and says_no_key(words[-1].rstrip(":").lower())


def _whole_end(text: str, value: _Value) -> int:
    """The end of the whole value, of which only the head was read and judged."""
    if not value.chars or value.end - value.start < HEAD_CHARS:
        return value.end
    rest = _RESTS[value.chars].match(text, value.end)
    assert rest is not None
    return rest.end()


def _value(text: str, name: _Name, sign: re.Match[str]) -> _Value | None:
    """The value that follows the sign."""
    at = sign.end()
    if name.family == "CREDENTIALS" and (scheme := _SCHEME.match(text, at)):
        return _credentials(text, scheme)
    opened = _OPEN.match(text, at)
    if opened is not None:
        return _quoted(text, opened)
    if sign["tag"]:
        return _Value(at, text.find("<", at), quoted=True, lone=True)
    if sign["entity"]:
        return _Value(at, text.find("&lt;", at), quoted=True, lone=True)
    if (sign["sign"] or "").startswith("%"):
        place = _ENCODED.match(text, at)
        return None if place is None else _Value(at, place.end(), quoted=False, lone=True)
    if words := _WORDS.match(text, at):
        return _Value(at, words.end(), quoted=True, lone=True)
    return _unquoted(text, at, _characters(text, name.start, sign))


def _characters(text: str, start: int, sign: re.Match[str]) -> str:
    """The characters that an unquoted value may have: more of them if it has a line to itself."""
    mark = sign["sign"] or ""
    if not _starts_line(text, start):
        return _BARE
    if mark.startswith(":") and mark != ":=":
        return _YAML
    return _SHELL if mark == "=" and text[sign.end() - 1] == "=" else _BARE


def _unquoted(text: str, at: int, chars: str) -> _Value | None:
    place = _HEADS[chars].match(text, at)
    if place is not None and chars == _SHELL and (place[0].endswith(",") or _CODE.search(place[0])):
        # an argument of a call, on a line of its own, or code without blanks
        return _unquoted(text, at, _BARE)
    if place is None or _INDEXED.match(place[0]):
        return None
    after = text[place.end() : place.end() + 1]
    if after and after in "([{":
        return None
    ends = ".:" if chars == _YAML or text[at - 1] == "=" else ".:?"
    end = at + len(place[0].rstrip(ends)) if chars != _SHELL and after in " \n" else place.end()
    lone = after in "\n\r&;<" or (chars == _SHELL and after in " \t")
    return _Value(at, end, quoted=False, lone=lone, chars=chars)


def _quoted(text: str, opened: re.Match[str]) -> _Value:
    """The value in quotes, up to the closing quote on the same line, or up to the end of the line."""
    quote, at = opened[1], opened.end()
    line = text.find("\n", at, at + VALUE_CHARS)
    stop = line if line >= 0 else min(len(text), at + VALUE_CHARS)
    slashes = len(quote) - 1
    for found in _QUOTES.finditer(text, at, stop):
        # At the same depth of escapes: what is escaped once more has more backslashes, in steps of twice as many.
        if found[2] == quote[-1] and len(found[1]) % (2 * slashes + 2) == slashes:
            stop = found.end() - len(quote)
            break
    return _Value(at, stop, quoted=True, lone=True)


def _credentials(text: str, scheme: re.Match[str]) -> _Value | None:
    """The credentials that follow a scheme in an Authorization header."""
    at = scheme.end()
    whole = scheme["scheme"].lower() in ("digest", "aws4-hmac-sha256")
    place = (_WHOLE_LINE if whole else _ONE_WORD).match(text, at)
    if place is None or is_placeholder(place[0]) or is_name(place[0]) or place[0].startswith("{"):
        return None
    family = "CREDENTIALS" if whole or scheme["scheme"].lower() == "basic" else "TOKEN"
    return _Value(at, place.end(), quoted=True, lone=True, family=family)


def _starts_line(text: str, start: int) -> bool:
    """Whether nothing but blanks, the mark of a diff or words such as `export` come before `start` on its line."""
    line = text.rfind("\n", max(0, start - 80), start) + 1 or max(0, start - 80)
    return text[line:start].strip(" \t+-").lower() in ("", "export", "set", "env", "arg", "declare -x", "$env:")


def _is_code_like(value: str, lone: bool) -> bool:
    """Whether an unquoted value is a variable: code follows it, or it is an attribute."""
    return is_name(value) and not is_random(value) and (not lone or "." in value)


def _is_argument(value: str) -> bool:
    """Whether what follows a flag is its argument, not the placeholder for it in a usage text."""
    return not (value.isupper() and value.isalpha())


def _stands_out(value: str, *, quoted: bool) -> bool:
    """Whether a value looks secret enough to need no sign between it and its name."""
    return is_random(value) or (is_digest(value) and is_mixed(value)) or (quoted and is_mixed(value))
