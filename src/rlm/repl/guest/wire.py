"""The one encoding that host and guest share: frames, and the values in them, as `docs/wire.md` describes.

Both sides import it and core uses its value form for contexts, so it needs nothing but the standard library,
decides nothing about what a frame means, and trusts neither side: whatever breaks a rule is a `WireError`.
"""

from __future__ import annotations

import builtins
import re
import struct
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from dataclasses import fields, is_dataclass
from json import JSONDecoder, JSONEncoder
from math import isfinite
from operator import eq
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Functions defined below keep this copy: guest code that breaks `builtins.len` breaks only itself.
__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

Json: TypeAlias = Any
Other: TypeAlias = "Callable[[Any], Json]"
Special: TypeAlias = "Mapping[str, Callable[[Any], Any]]"

VERSION = 1
MAX_FRAME_BYTES = 64 << 20
MAX_DEPTH = 100
MAX_TEXT_CHARS = 10_000
MAX_CALLS = 256
"""The most calls that one guest may have outstanding."""
MAX_VALUES = 1_000_000
"""The most values in one frame of a guest: they take far more memory at the host than JSON has bytes."""

HEADER = struct.Struct(">IB")
JSON_KIND = 0

_MAX_PLAIN_INT = 2**53
_MAX_DIGITS = 4300
_MAX_ALIKE = 64
_HASH_MODULUS = 2**61 - 1
"""The number modulo which a Python of 64 bits hashes an int: on one of 32 bits the other side's hashes count."""
_LARGE_BYTES = 1 << 20
_FEW_VALUES = 100_000
_ESCAPED = re.compile(rb"\\.")
_PLAIN_STRING = re.compile(rb'"[^"]*+"')
_ALIKE = "a dict has keys that become the same key when it is sent: make each a different str"
_JSON_FLOATS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_FLOATS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


class WireError(Exception):
    """Bytes or a value broke the rules of the wire."""


def pack(message: Mapping[str, Json]) -> bytes:
    """One JSON frame, header included.

    Raises:
        WireError: it would be larger than a frame may be.
    """
    return _framed(_to_json(message))


def pack_for_host(message: Mapping[str, Json]) -> bytes:
    """One JSON frame that a guest sends, header included; the number of its values is bounded.

    Raises:
        WireError: it is too large, or has too many.
    """
    payload = _to_json(message)
    check_values(payload)
    return _framed(payload)


def check_values(payload: bytes) -> None:
    """Refuse JSON that would take far more memory than it has bytes.

    Raises:
        WireError: it has more than `MAX_VALUES`.
    """
    if len(payload) > _LARGE_BYTES and count_values(payload) > MAX_VALUES:
        raise WireError(f"more than {MAX_VALUES:,} values do not fit a frame")


def count_values(payload: bytes) -> int:
    """The most values that JSON can have; looks into strings only where there may be many."""
    found = _signs(payload)
    return found if found <= _FEW_VALUES else _signs(_PLAIN_STRING.sub(b"", _ESCAPED.sub(b"", payload)))


def _signs(payload: bytes) -> int:
    return payload.count(b",") + payload.count(b"[") + payload.count(b"{")


def _framed(payload: bytes) -> bytes:
    if len(payload) > MAX_FRAME_BYTES:
        raise WireError(f"{len(payload):,} bytes do not fit a frame of at most {MAX_FRAME_BYTES:,}")
    return HEADER.pack(len(payload), JSON_KIND) + payload


def unpack_header(header: bytes | bytearray | memoryview) -> int:
    """The length in bytes of the payload that a 5-byte header announces.

    Raises:
        WireError: the kind is unknown or the length is above the cap.
    """
    length, kind = HEADER.unpack(header)
    if kind != JSON_KIND:
        raise WireError(f"unknown kind of frame: {kind}")
    if length > MAX_FRAME_BYTES:
        raise WireError(f"a frame of {length:,} bytes was announced; at most {MAX_FRAME_BYTES:,} are allowed")
    return int(length)


def unpack(payload: bytes | bytearray) -> dict[str, Json]:
    """The JSON object in a payload.

    Raises:
        WireError: it is not a JSON object.
    """
    try:
        message = unpack_value(str(payload, "utf-8"))
    except UnicodeDecodeError as e:
        raise WireError(f"not UTF-8: {e}") from e
    if type(message) is not dict:
        raise WireError("a frame must be a JSON object")
    return message


def unpack_value(text: str) -> Json:
    """The JSON in `text`, not yet decoded as a value. Raises:
    WireError: it is not JSON.
    """
    try:
        form, _end = _scan(text, 0)
    except (ValueError, StopIteration, RecursionError) as e:
        raise WireError(f"not JSON: {e}") from e
    return form


def pack_value(form: Json) -> bytes:
    """The JSON text of an encoded value, as UTF-8."""
    return _to_json(form)


def refuse(value: Any) -> NoReturn:
    """The default of `encode_value` for what has no form on the wire."""
    kind = type(value)
    if kind in _ENCODERS:
        raise TypeError(f"a {kind.__name__} here is nested more than {MAX_DEPTH} deep, contains itself or is too large")
    raise TypeError(f"a {kind.__module__}.{kind.__qualname__} has no JSON form")


def encode_value(value: Any, *, other: Other = refuse) -> Json:
    """The JSON form of `value`; `other` gives the form of each part that has none (or nests too deep).

    Raises:
        TypeError: from the default `other`, or a dict's keys would not come back as different keys.
    """
    return _encode(value, other, set())


def decode_value(form: Json, *, special: Special | None = None) -> Any:
    """The value that a JSON form stands for; `special` decodes the `$` forms that only one direction knows.

    Raises:
        WireError: not a valid form, or nested too deep.
    """
    return _decode(form, special or {}, 0)


def refuse_alike_keys(form: Json) -> None:
    """Refuse a form with a dict whose keys differ in Python but not in JSON: one of the values would be lost there.

    Raises:
        TypeError: it has such keys, `1` and `"1"`, say.
    """
    waiting = [form]
    while waiting:
        part = waiting.pop()
        if type(part) is list:
            waiting += part
        elif type(part) is dict:
            if "$map" in part:
                _refuse_alike([key for key, _item in part["$map"]])
            waiting += part.values()


def _refuse_alike(keys: list[Json]) -> None:
    seen: dict[str, Json] = {}
    for key in keys:
        text = _json_key(key)
        if text is not None and seen.setdefault(text, key) is not key:
            raise TypeError(f"a dict has the keys {seen[text]!r} and {key!r}, which are the same in JSON: make all str")


def _json_key(form: Json) -> str | None:
    """The text that JSON makes of a key; None for what JSON has no key of."""
    if type(form) is str:
        return form
    if form is None or type(form) in (bool, int, float):
        return str(_to_json(form), "utf-8")
    if type(form) is dict and len(form) == 1:
        ((mark, body),) = form.items()
        return {"$int": body, "$float": _JSON_FLOATS.get(body) if type(body) is str else None, "$text": body}.get(mark)
    return None


def as_text(text: str) -> Json:
    """The form of a value that is shown, not carried."""
    return {"$text": escape_surrogates(text[:MAX_TEXT_CHARS])}


def escape_surrogates(text: str) -> str:
    """Return `text` as UTF-8 can carry it: a lone surrogate becomes its escape, as in `\\udce9`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _encode(value: Any, other: Other, path: set[int]) -> Json:
    for kind in type(value).__mro__:
        encoder = _ENCODERS.get(kind)
        if encoder is not None:
            return encoder(value, other, path)
    if is_dataclass(value) and not isinstance(value, type):
        return _encode_dict({f.name: getattr(value, f.name) for f in fields(value)}, other, path, identity=id(value))
    if hasattr(type(value), "tolist"):  # numpy's scalars and arrays, pandas' series
        return _encode(value.tolist(), other, path)
    return other(value)


def _encode_str(value: str, _other: Other, _path: set[int]) -> Json:
    text = str.__str__(value)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"$str": _base64(text.encode("utf-8", "surrogatepass"))}
    return text


def _encode_int(value: int, other: Other, _path: set[int]) -> Json:
    number = int.__int__(value)
    if -_MAX_PLAIN_INT <= number <= _MAX_PLAIN_INT:
        return number
    if number.bit_length() > 3 * _MAX_DIGITS:
        return other(value)
    return {"$int": int.__repr__(number)}


def _encode_float(value: float, _other: Other, _path: set[int]) -> Json:
    number = float.__float__(value)
    return number if isfinite(number) else {"$float": float.__repr__(number)}


def _encode_bytes(value: bytes | bytearray | memoryview, _other: Other, _path: set[int]) -> Json:
    return {"$bytes": _base64(bytes(value))}


def _encode_items(value: Any, other: Other, path: set[int]) -> Json:
    if len(path) >= MAX_DEPTH or id(value) in path:
        return other(value)
    path.add(id(value))
    try:
        return [_encode(item, other, path) for item in value]
    finally:
        path.discard(id(value))


def _encode_dict(value: dict[Any, Any], other: Other, path: set[int], *, identity: int = 0) -> Json:
    identity = identity or id(value)
    if len(path) >= MAX_DEPTH or identity in path:
        return other(value)
    path.add(identity)
    items = list(value.items())
    try:
        if all(_is_plain_key(key) for key, _item in items):
            form = {str.__str__(key): _encode(item, other, path) for key, item in items}
            if len(form) < len(items):
                raise TypeError(_ALIKE)
            return form
        keys = _distinct([_encode_key(key, other, path) for key, _item in items])
        return {"$map": [[key, _encode(item, other, path)] for key, (_key, item) in zip(keys, items, strict=True)]}
    finally:
        path.discard(identity)


def _is_plain_key(key: Any) -> bool:
    if not issubclass(type(key), str):
        return False
    text = str.__str__(key)
    return not text.startswith("$") and (text.isascii() or type(_encode_str(text, refuse, set())) is str)


def _encode_key(key: Any, other: Other, path: set[int]) -> Json:
    if issubclass(type(key), str | int | float | bytes | tuple | frozenset | None):
        return _encode(key, other, path)
    return other(key)


def _distinct(forms: list[Json]) -> list[Json]:
    """The forms of a dict's keys, if the other side can make a dict of them again. Raises:
    TypeError: some become the same key there, as `nan` does, or more have one hash than may.
    """
    try:
        keys = check_keys([_hashable(_decode(form, {"$text": str}, 0)) for form in forms])
    except WireError as e:
        raise TypeError(f"a dict has keys that can't be sent: {e}") from None
    if len(set(keys)) < len(keys):
        raise TypeError(_ALIKE)
    return forms


_ENCODERS: dict[type, Callable[[Any, Other, set[int]], Json]] = {
    type(None): lambda _value, _other, _path: None,
    bool: lambda value, _other, _path: value,
    int: _encode_int,
    float: _encode_float,
    str: _encode_str,
    bytes: _encode_bytes,
    bytearray: _encode_bytes,
    memoryview: _encode_bytes,
    list: _encode_items,
    tuple: _encode_items,
    set: _encode_items,
    frozenset: _encode_items,
    dict: _encode_dict,
}


def _decode(form: Json, special: Special, depth: int) -> Any:
    kind = type(form)
    if kind is list:
        _check_depth(depth)
        return [_decode(item, special, depth + 1) for item in form]
    if kind is not dict:
        return form
    for key in form:
        if key.startswith("$"):
            return _decode_marked(form, special, depth)
    _check_depth(depth)
    return {key: _decode(item, special, depth + 1) for key, item in form.items()}


def _check_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise WireError(f"a value is nested more than {MAX_DEPTH} deep")


def _decode_marked(form: dict[str, Json], special: Special, depth: int) -> Any:
    if len(form) != 1:
        raise WireError("an object with a $ key has one key")
    ((mark, body),) = form.items()
    if mark == "$map":
        return _decode_map(body, special, depth)
    decoder = special.get(mark) or _DECODERS.get(mark)
    if decoder is None:
        raise WireError(f"unknown form {mark[:20]!r}")
    try:
        return decoder(body)
    except (ValueError, TypeError, KeyError) as e:
        raise WireError(f"bad {mark} form: {e}") from e


def _decode_map(body: Json, special: Special, depth: int) -> dict[Any, Any]:
    _check_depth(depth)
    try:
        keys = check_keys([_hashable(_decode(key, special, depth + 1)) for key, _item in body])
        return dict(zip(keys, [_decode(item, special, depth + 1) for _key, item in body], strict=True))
    except (ValueError, TypeError) as e:
        raise WireError(f"bad $map form: {e}") from e


def check_keys(keys: list[Any]) -> list[Any]:
    """`keys`, if a table of them takes time linear in their number: made up ones with one hash would take for ever.

    Raises:
        WireError: too many of them have one hash.
        TypeError: one has none.
    """
    if len(keys) <= _MAX_ALIKE:
        return keys
    hashes = sorted([key % _HASH_MODULUS if type(key) is int else hash(key) for key in keys])
    if any(map(eq, hashes, hashes[_MAX_ALIKE:])):
        raise WireError(f"more than {_MAX_ALIKE} different keys have one hash")
    return keys


def _hashable(key: Any) -> Any:
    return tuple(_hashable(part) for part in key) if isinstance(key, list) else key


def _decode_int(body: Any) -> int:
    if type(body) is not str or len(body) > _MAX_DIGITS:
        raise ValueError("not a decimal of a bearable length")
    return int(body)


def _base64(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).decode("ascii")


def _unbase64(body: Any) -> bytes:
    try:
        return a2b_base64(body, strict_mode=True)
    except Base64Error as e:
        raise ValueError(str(e)) from e


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$bytes": _unbase64,
    "$int": _decode_int,
    "$float": lambda body: _FLOATS[body],
    "$str": lambda body: _unbase64(body).decode("utf-8", "surrogatepass"),
}


def _json_writer() -> Callable[[Any], bytes]:
    """Plain `json` runs Python code that looks builtins up at call time; the parts in C do not."""
    from json import encoder

    make = getattr(encoder, "c_make_encoder", None)
    if make is None:
        plain = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return lambda message: plain.encode(message).encode()
    write = make(None, refuse, encoder.encode_basestring, None, ":", ",", False, False, False)
    join = "".join
    return lambda message: join(write(message, 0)).encode()


_to_json = _json_writer()
_scan = JSONDecoder().scan_once  # type: ignore[attr-defined]
