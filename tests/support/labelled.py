"""Reads the labelled lines of `tests/corpus/masking/`: «...» marks what may not remain, {class:count} draws text."""

from __future__ import annotations

import random
import re
import string
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "corpus" / "masking"
HELD_OUT = 3
"""Every third line was never looked at while the detectors were made."""

_BASE64 = string.ascii_letters + string.digits + "+/"
_CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "word": string.ascii_letters + string.digits * 2 + "_-",
    "b64": _BASE64,
    "base32": string.ascii_uppercase + "234567",
    "hex": "0123456789abcdef",
    "hexupper": "0123456789ABCDEF",
    "digits": string.digits,
    "lower": string.ascii_lowercase,
    "lowernum": string.ascii_lowercase + string.digits,
    "uppernum": string.ascii_uppercase + string.digits,
    "upper": string.ascii_uppercase,
    "letters": string.ascii_letters,
}
_DRAWN = re.compile(rf"\{{({'|'.join(_CLASSES)}|uuid|card|amex|iban)(?::([^}}]+))?\}}")
_MARK = re.compile("«(.*?)»", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A text and the places in it that hold secrets."""

    text: str
    places: tuple[tuple[int, int], ...]
    held_out: bool

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(self.text[start:end] for start, end in self.places)


def read(name: str, seed: int = 1) -> list[Labelled]:
    """Every line of `name`.txt, with values drawn from `seed`."""
    lines = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line and not line.startswith("# ")]
    return [_labelled(line, random.Random(f"{seed} {line}"), index) for index, line in enumerate(kept)]


def _labelled(line: str, draw: random.Random, index: int) -> Labelled:
    filled = _DRAWN.sub(lambda hole: _drawn(draw, hole[1], hole[2]), line).replace("⏎", "\n")
    marks = enumerate(_MARK.finditer(filled))
    places = [(mark.start() - 2 * count, mark.end() - 2 * count - 2) for count, mark in marks]
    text = filled.replace("«", "").replace("»", "")
    return Labelled(text=text, places=tuple(places), held_out=index % HELD_OUT == HELD_OUT - 1)


def _drawn(draw: random.Random, kind: str, option: str | None) -> str:
    if kind in _CLASSES:
        return "".join(draw.choices(_CLASSES[kind], k=int(option or 1)))
    if kind == "uuid":
        digits = f"{draw.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    if kind == "iban":
        return _spaced(_iban(draw), " " if option else "")
    return _card(draw, kind, {"4": " ", "-": "-"}.get(option or "", ""))


def _card(draw: random.Random, kind: str, gap: str) -> str:
    digits = [3, 7] if kind == "amex" else [4]
    digits += draw.choices(range(10), k=(14 if kind == "amex" else 15) - len(digits))
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[::-1][::2])
    digits.append(-(doubled + sum(digits[::-1][1::2])) % 10)
    return _spaced("".join(map(str, digits)), gap)


def _iban(draw: random.Random) -> str:
    account = "".join(draw.choices(string.digits, k=18))
    return f"DE{98 - int(account + '131400') % 97:02d}{account}"


def _spaced(text: str, gap: str) -> str:
    return gap.join(text[start : start + 4] for start in range(0, len(text), 4))
