"""What cells may import from the standard library: per module the names that are handed out, and what replaces some.

A name that isn't listed doesn't exist for a cell. What a module lists must open no file, start no process, evaluate no
text, and reach attributes only by names that the policy has checked. Names that this Python lacks are passed over.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.policy import classes, library
from rlm.repl.guest.policy.names import words

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFace:
    """The public face of a module."""

    names: frozenset[str] | None
    """What is handed out; None: what the module itself declares public."""
    without: frozenset[str] = frozenset()
    """What is held back of that."""
    instead: Mapping[str, Any] = field(default_factory=dict)
    """Guarded stand-ins, by name."""
    module: str | None = None
    """The real module, where it isn't the one of that name."""


def _only(names: str, **instead: Any) -> ModuleFace:
    return ModuleFace(names=frozenset(words(names)), instead=instead)


def _public(without: str = "", **instead: Any) -> ModuleFace:
    return ModuleFace(names=None, without=frozenset(words(without)), instead=instead)


_AST_NODES = frozenset(
    name
    for name, value in vars(ast).items()
    if isinstance(value, type) and issubclass(value, (ast.AST, ast.NodeVisitor)) and not name.startswith("_")
)

STRICT: Mapping[str, ModuleFace] = {
    "base64": _only(
        "b64encode b64decode standard_b64encode standard_b64decode urlsafe_b64encode urlsafe_b64decode b32encode "
        "b32decode b32hexencode b32hexdecode b16encode b16decode a85encode a85decode b85encode b85decode z85encode "
        "z85decode encodebytes decodebytes"
    ),
    "bisect": _public(),
    "cmath": _public(),
    "collections": _public(namedtuple=library.namedtuple),
    "csv": _public(),
    "datetime": _only("date datetime time timedelta timezone tzinfo UTC MINYEAR MAXYEAR"),
    "decimal": _public(),
    "fractions": _public(),
    "functools": _only("partial reduce lru_cache cache cmp_to_key", wraps=library.wraps),
    "hashlib": _only(
        "md5 sha1 sha224 sha256 sha384 sha512 blake2b blake2s sha3_224 sha3_256 sha3_384 sha3_512 shake_128 shake_256 "
        "new pbkdf2_hmac scrypt algorithms_available algorithms_guaranteed"
    ),
    "heapq": _public(),
    "html": _public(),
    "io": _only("StringIO BytesIO"),
    "itertools": _public(),
    "json": _public(),
    "json.decoder": _public(),
    "math": _public(),
    "random": _public(without="SystemRandom"),
    "re": _public(),
    "statistics": _public(),
    "string": _public(without="Formatter"),
    "textwrap": _public(),
    "time": _public(without="clock_settime clock_settime_ns pthread_getcpuclockid tzset"),
    "unicodedata": _public(),
    "uuid": _only("UUID uuid3 uuid4 uuid5 uuid6 uuid7 uuid8 NAMESPACE_DNS NAMESPACE_URL NAMESPACE_OID NAMESPACE_X500"),
}
"""Values, text and numbers."""

RELAXED: Mapping[str, ModuleFace] = {
    **STRICT,
    "abc": _only(
        "ABC abstractmethod abstractclassmethod abstractstaticmethod abstractproperty", ABCMeta=classes.ABC_META
    ),
    "array": _only("array typecodes"),
    "ast": ModuleFace(
        names=_AST_NODES
        | frozenset(
            words(
                "parse literal_eval dump unparse walk iter_child_nodes get_docstring get_source_segment "
                "copy_location fix_missing_locations increment_lineno"
            )
        ),
        instead={"iter_fields": library.iter_fields},
    ),
    "asyncio": _only(
        "run gather sleep wait_for wait as_completed create_task ensure_future shield timeout timeout_at to_thread "
        "TaskGroup Task Queue PriorityQueue LifoQueue QueueEmpty QueueFull Lock Event Condition Semaphore "
        "BoundedSemaphore Barrier CancelledError TimeoutError InvalidStateError FIRST_COMPLETED FIRST_EXCEPTION "
        "ALL_COMPLETED current_task all_tasks iscoroutine iscoroutinefunction isfuture"
    ),
    "binascii": _public(),
    "bz2": _only("compress decompress BZ2Compressor BZ2Decompressor"),
    "calendar": _public(without="main LocaleTextCalendar LocaleHTMLCalendar different_locale"),
    "collections.abc": _public(),
    "concurrent": _only(""),
    "concurrent.futures": _only(
        "ThreadPoolExecutor Executor Future as_completed wait FIRST_COMPLETED FIRST_EXCEPTION ALL_COMPLETED "
        "CancelledError TimeoutError InvalidStateError BrokenExecutor"
    ),
    "contextlib": _public(
        without="chdir", redirect_stdout=library.redirect_stdout, redirect_stderr=library.redirect_stderr
    ),
    "copy": _only("copy deepcopy replace Error error"),
    "dataclasses": _only(
        "field fields asdict astuple replace is_dataclass KW_ONLY MISSING InitVar FrozenInstanceError",
        dataclass=library.dataclass, make_dataclass=library.make_dataclass,
    ),
    "difflib": _public(),
    "enum": _public(
        without="EnumType EnumMeta global_enum global_enum_repr global_flag_repr global_str pickle_by_global_name "
        "pickle_by_enum_name"
    ),
    "functools": _only(
        "partial partialmethod reduce lru_cache cache cached_property cmp_to_key total_ordering",
        wraps=library.wraps, update_wrapper=library.update_wrapper, singledispatch=library.singledispatch,
    ),
    "gzip": _only("compress decompress BadGzipFile"),
    "html.entities": _public(),
    "html.parser": _public(),
    "io": _only("StringIO BytesIO TextIOWrapper SEEK_SET SEEK_CUR SEEK_END"),
    "json": _public(),
    "json.encoder": _only("JSONEncoder"),
    "logging": _only(
        "getLogger debug info warning error exception critical log disable getLevelName DEBUG INFO WARNING ERROR "
        "CRITICAL NOTSET NullHandler",
        basicConfig=library.basic_config,
    ),
    "lzma": _only("compress decompress LZMACompressor LZMADecompressor LZMAError FORMAT_AUTO FORMAT_XZ FORMAT_ALONE"),
    "numbers": _public(),
    "operator": _public(attrgetter=library.attrgetter, methodcaller=library.methodcaller),
    "os.path": ModuleFace(
        names=frozenset(words("basename dirname split splitext join normpath commonprefix commonpath isabs sep")),
        module="posixpath",
    ),
    "pprint": _public(),
    "queue": _public(),
    "secrets": _public(without="SystemRandom"),
    "struct": _public(),
    "threading": _only(
        "Thread Lock RLock Event Semaphore BoundedSemaphore Condition Barrier BrokenBarrierError Timer local "
        "current_thread main_thread active_count get_ident"
    ),
    "tokenize": _public(without="open"),
    "traceback": _only("format_exc print_exc format_exception format_exception_only print_exception"),
    "types": _only("SimpleNamespace MappingProxyType NoneType"),
    "typing": _public(
        without="ForwardRef evaluate_forward_ref",
        get_type_hints=library.get_type_hints, get_origin=library.get_origin, get_args=library.get_args,
    ),
    "urllib": _only(""),
    "urllib.parse": _public(),
    "warnings": _only("warn filterwarnings simplefilter resetwarnings catch_warnings"),
    "xml": _only(""),
    "xml.etree": _only(""),
    "xml.etree.ElementTree": _only(
        "fromstring fromstringlist tostring tostringlist XML XMLID Element SubElement Comment ProcessingInstruction "
        "PI QName ParseError XMLParser XMLPullParser TreeBuilder dump indent iselement register_namespace",
        ElementTree=library.GuardedTree, parse=library.parse_xml,
    ),
    "zlib": _public(),
    "zoneinfo": _only("ZoneInfo ZoneInfoNotFoundError available_timezones"),
}  # fmt: skip
"""What `relaxed` adds: classes, threads, coroutines, and more formats."""
