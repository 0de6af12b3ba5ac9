"""Makes a Context of whatever a user gives: text, values, files, folders, globs, streams.

Reads on the calling thread, in constant memory. What can't be used as given is a ConfigError; what is left out of a
folder is a warning of the context, so that neither the user nor the model takes incomplete data for complete.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rlm.core.contexts.context import Context, Part, printable
from rlm.core.contexts.spool import Spool, Tally, preview_of, spooling, text_context, text_nature, value_context
from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.notes import ReadingNote
from rlm.core.paths import Confined
from rlm.core.texts import escape_bytes
from rlm.documents.paged import with_pages
from rlm.documents.reader import Documents
from rlm.files.encodings import checked_encoding
from rlm.files.texts import BinaryFileError, Notes, Reading, TextFile, some_of
from rlm.files.unpacking import Unpacker, read_only
from rlm.files.walk import Excluded, Walk, WalkedFile, excluding, matches, rules_above
from rlm.helpers.opening import recover_at
from rlm.runtime.plain_values import encoded, simpler
from rlm.trajectory.own_files import HEAD_BYTES, begins_own, is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_STREAM_BYTES = 4 << 20
DEFAULT_READING = Reading()
_NAMES_COMPARED = 2_000
_NAME_CHARS = 4_096
_DESCRIPTORS = (Path("/dev/fd"), Path("/proc/self/fd"))
"""Folders of the descriptors that this process has open."""


def prepare(value: Any, reading: Reading = DEFAULT_READING) -> Context:
    """Make the context of `value`: a file or stream is text; a folder, a glob or several files are a dict of texts.

    A folder, or a pattern with `**`, leaves out what is hidden or ignored by git; other patterns take what they
    match, as a shell does. Records of runs are left out of both: only one that is named itself is data. Blocks while
    reading.

    Raises:
        ConfigError: it is missing, unreadable, binary without being asked for, or of a kind no sandbox can take.
    """
    if reading.encoding is not None:
        checked_encoding(reading.encoding)
    if value is None:
        return Context.empty()
    if isinstance(value, Context):
        return value
    if isinstance(value, str):
        return text_context(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _from_stream(io.BytesIO(value), "bytes", reading)
    if _is_source(value):
        return _from_sources([value], reading)
    if isinstance(value, (list, tuple)) and value and all(map(_is_source, value)):
        return _from_sources(value, reading)
    return value_context(_whole_value(value), encoded)


def named_file(value: Any) -> str | None:
    """A warning where a text is the name of a file, which was perhaps meant; None where it isn't."""
    if not isinstance(value, str) or not 0 < len(value) <= _NAME_CHARS or not value.isprintable():
        return None
    try:
        if not Path(value).exists():
            return None
    except (OSError, ValueError):
        return None
    kind = "folder" if Path(value).is_dir() else "file"
    return f"the context is the text {value!r}, not the {kind} of that name: for its content give Path({value!r})"


def _whole_value(value: Any) -> Any:
    """The value itself, or what is read of it once: of a generator, a table, a model."""
    if isinstance(value, (Mapping, list, tuple, set, frozenset)) or is_dataclass(value):
        return value
    is_many = isinstance(value, Iterable) or hasattr(type(value), "model_dump")
    return simpler(value) if is_many and not hasattr(type(value), "tolist") else value


def reading_of(note: ReadingNote | None) -> Reading:
    """How a context was read, of which a record has this note."""
    if note is None:
        return DEFAULT_READING
    include, exclude = tuple(note.include), tuple(note.exclude)
    return Reading(encoding=note.encoding, binary=note.binary, include=include, exclude=exclude, pages=note.pages)


def _noted(reading: Reading) -> ReadingNote | None:
    note = ReadingNote(
        encoding=reading.encoding,
        binary=reading.binary,
        include=list(reading.include),
        exclude=list(reading.exclude),
        pages=reading.pages,
    )
    return None if note == ReadingNote() else note


def _is_source(value: Any) -> bool:
    """Whether a value is a path or an open file, to be read."""
    return isinstance(value, os.PathLike) or hasattr(value, "read")


def _from_sources(values: Iterable[Any], reading: Reading) -> Context:
    sources = [_Stream.of(value) or Path(value) for value in values]
    if len(sources) == 1 and isinstance(sources[0], _Stream):
        return _from_stream(sources[0].file, sources[0].given, reading)
    return _from_paths(sources, reading)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stream:
    """Something that is read once, to its end."""

    file: IO[Any]
    given: str

    @classmethod
    def of(cls, value: Any) -> _Stream | None:
        """An open file, or the path of one that this process has, as of a shell's `<(command)`; None for others."""
        if hasattr(value, "read"):
            return cls(file=value, given=str(getattr(value, "name", "stream")))
        path = Path(value)
        if path.parent not in _DESCRIPTORS or not path.is_fifo():
            return None
        return cls(file=path.open("rb"), given=str(path))

    @property
    def name(self) -> str:
        """What it is called beside files: stdin, or fd-63."""
        path = Path(self.given.strip("<>"))
        return f"fd-{path.name}" if path.parent in _DESCRIPTORS else path.name


def prepare_within(names: Sequence[str], confined: Confined, reading: Reading = DEFAULT_READING) -> Context:
    """As `prepare`, for names of files and folders and for globs, all of which must lead into `confined`.

    Raises:
        ToolError: a name leads out of it, or to nothing.
        ConfigError: as `prepare`.
    """
    names = [os.path.expanduser(name) for name in names]  # noqa: PTH111 - what is text is checked as text
    paths = [_inside(name, confined) for name in names]
    if len(paths) == 1 and paths[0].is_file():
        _refuse_exact(paths[0])
        recover_at(paths)
        return _text_of(confined.open_read(str(paths[0])), names[0], reading)
    return _from_paths(paths, reading)


def _inside(name: str, confined: Confined) -> Path:
    """The path that a name leads to, free of symlinks; in a glob only the fixed part is resolved."""
    if not _is_glob(name):
        return confined.locate(name).path
    parts = Path(name).parts
    fixed = next(place for place, part in enumerate(parts) if _is_glob(part))
    if ".." in parts[fixed:]:
        raise ToolError(f"{printable(name)}: a pattern goes down only, without '..'.")
    path = confined.locate(str(Path(*parts[:fixed]))).path.joinpath(*parts[fixed:])
    return confined.locate(str(path)).path if os.path.lexists(path) else path


def _from_stream(stream: IO[Any], name: str, reading: Reading) -> Context:
    spool, is_text = _spooled(stream)
    fd = spool.finish()
    return _whole(fd, 0, spool.tally, name, Notes()) if is_text else _text_of(fd, name, reading)


def _spooled(stream: IO[Any]) -> tuple[Spool, bool]:
    """All that a stream has, and whether it gave text rather than bytes."""
    stream = getattr(stream, "buffer", stream)
    is_text = False
    with spooling() as spool:
        while piece := stream.read(_STREAM_BYTES):
            is_text = isinstance(piece, str)
            if is_text:
                spool.write_text(piece)
            else:
                spool.write(piece, 0)
    return spool, is_text


def _text_of(fd: int, name: str, reading: Reading) -> Context:
    """The context of one open file: its text, or a dict of texts if it is an archive; `fd` is closed, or becomes the
    context's where it holds UTF-8."""
    notes = Notes()
    try:
        with _documents(notes, reading) as documents:
            unpacker = _unpacker(notes, reading, documents)
            if reading.binary or not unpacker.takes_apart(fd, name):
                return _whole_text(os.dup(fd), name, reading, Notes())
            return with_pages(_unpacked(fd, name, reading, unpacker), documents.paged)
    finally:
        os.close(fd)


def _documents(notes: Notes, reading: Reading) -> Documents:
    return Documents(notes, pages=reading.pages, texts=reading.encoding is None)


def _unpacked(fd: int, name: str, reading: Reading, unpacker: Unpacker) -> Context:
    """The context of a packed file, a document or a notebook."""
    notes = unpacker.notes
    files = unpacker.files(fd, name)
    with closing(files):
        first = next(files, None)
        if first is not None and first[0] == name:
            return _whole_text(read_only(first[1]), name, reading, notes)
        with spooling() as spool:
            gathering = _Gathering(spool, reading, Path(), unpacker)
            for inner, file in chain([] if first is None else [first], files):
                gathering.read(file, inner.removeprefix(f"{name}/"), strict=False)
            if not gathering.parts:
                raise _no_text(name, notes.about(name) or gathering.left_out())
    return gathering.context([name])


def _unpacker(notes: Notes, reading: Reading, documents: Documents) -> Unpacker:
    return Unpacker(notes, documents=documents, everything=reading.everything, notebooks=reading.encoding is None)


def _whole_text(fd: int, name: str, reading: Reading, notes: Notes) -> Context:
    """The context of one open text, without a copy if it is UTF-8; `fd` is closed or becomes the context's."""
    tally = Tally()
    try:
        file = TextFile.of(fd, name)
        charset = file.charset(reading, notes, tally.add)
        if charset.exact:
            file.check_unchanged(notes)
            return _whole(fd, charset.start, tally, name, notes, reading)
        with spooling() as spool:
            file.copy(charset, spool, notes)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return _whole(spool.finish(), 0, spool.tally, name, notes, reading)


def _whole(fd: int, start: int, tally: Tally, name: str, notes: Notes, reading: Reading = DEFAULT_READING) -> Context:
    end = start + tally.size_bytes
    return Context(
        kind="text",
        fd=fd,
        parts=(Part(name="", start=start, end=end),),
        size_bytes=tally.size_bytes,
        chars=tally.chars,
        lines=tally.lines,
        items=1,
        shape=text_nature(fd, start, end),
        preview=preview_of(fd, start, end),
        sources=(name,),
        reading=_noted(reading),
        warnings=notes.warnings(),
        digest=tally.digest(),
    )


def _from_paths(sources: Sequence[Path | _Stream], reading: Reading) -> Context:
    paths = [source for source in sources if isinstance(source, Path)]
    recover_at(paths)
    if len(sources) == 1 and not reading.is_choosy and _is_one_file(paths[0]):
        return _text_of(_named(paths[0]), str(paths[0]), reading)
    wanted = [_Wanted.of(path) for path in paths]
    base = Path(os.path.commonpath([item.folder for item in wanted])) if wanted else Path.cwd()
    given = [str(source) if isinstance(source, Path) else source.given for source in sources]
    notes = Notes()
    with spooling() as spool, _documents(notes, reading) as documents:
        gathering = _Gathering(spool, reading, base, _unpacker(notes, reading, documents))
        for item in wanted:
            gathering.take(item)
        for source in sources:
            if isinstance(source, _Stream):
                gathering.take_stream(source)
        if not gathering.parts:
            raise ConfigError(f"no text files in {some_of(given)}. {gathering.left_out()}".strip())
    return with_pages(gathering.context(given), documents.paged)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A folder, and which files of it are wanted."""

    folder: Path
    """The absolute path of the folder."""
    name: str | None = None
    """The name of the one file that is wanted."""
    pattern: str | None = None
    """A glob for the wanted files, relative to `folder`; with neither this nor `name`, all files are wanted."""
    given: str
    """The path as the user wrote it."""

    @classmethod
    def of(cls, path: Path) -> _Wanted:
        given = str(path)
        absolute = Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - without resolving symlinks
        if absolute.is_dir():
            return cls(folder=absolute, given=given)
        if absolute.exists() or not _is_glob(path):
            return cls(folder=absolute.parent, name=absolute.name, given=given)
        fixed = next(place for place, part in enumerate(absolute.parts) if _is_glob(part))
        return cls(folder=Path(*absolute.parts[:fixed]), pattern="/".join(absolute.parts[fixed:]), given=given)

    def keeps(self, path: str, include: Sequence[str] = ()) -> bool:
        if include and not any(matches(path, pattern) for pattern in include):
            return False
        if self.pattern is None:
            return True
        # Anchored, unlike a bare pattern of a tool: `*.md` is what a shell would take.
        if not matches(path, "./" + self.pattern):
            return False
        return self.sweeps or not _hides(path, self.pattern)

    @property
    def sweeps(self) -> bool:
        return self.pattern is None or "**" in self.pattern

    def walk(self, reading: Reading) -> Walk:
        plain = reading.everything or not self.sweeps
        return Walk(
            keep=partial(self.keeps, include=reading.include),
            excluded=_excluded(reading),
            everything=plain,
            depth=None if self.sweeps else (self.pattern or "").count("/"),
            rules=() if plain else rules_above(self.folder.resolve()),
        )


class _Gathering:
    """Gathers many files into one context."""

    def __init__(self, spool: Spool, reading: Reading, base: Path, unpacker: Unpacker) -> None:
        self._spool = spool
        self._reading = reading
        self._base = base
        self._unpacker = unpacker
        self._notes = unpacker.notes
        self._names: set[str] = set()
        self._seen: set[Path] = set()
        self._ignored = 0
        self._records = 0
        self._met = 0
        self._unchosen = 0
        self.parts: list[Part] = []

    def take(self, wanted: _Wanted) -> None:
        """Read what is wanted; a file given by name must be readable text, others are left out with a note."""
        if wanted.name is not None:
            path = wanted.folder / wanted.name
            if not _chosen(wanted.name, self._reading):
                self._unchosen += 1
                return
            self._add(path, lambda: _named(path), strict=True)
            return
        if not wanted.folder.is_dir():
            raise _missing(wanted.folder)
        self._met = 0
        confined, walk = Confined([wanted.folder]), wanted.walk(self._reading)
        folder = confined.open_folder(str(confined.roots[0]))
        try:
            for found in walk.files(folder):
                self._add(wanted.folder / found.path, lambda found=found: _open_found(found, confined))  # type: ignore[misc]
        finally:
            os.close(folder)
        self._ignored += walk.ignored
        self._records += walk.records
        for unread in walk.unreadable:
            self._notes.add("unreadable, left out", unread)
        if not self._met:
            raise ConfigError(f"{_nothing_in(wanted, self._reading)} {self.left_out()}".strip())

    def take_stream(self, stream: _Stream) -> None:
        """Read what a stream has, beside files."""
        spool, is_text = _spooled(stream.file)
        fd = spool.finish()
        try:
            if is_text or self._reading.binary:
                self._copy(TextFile.of(fd, stream.name))
            else:
                self._unpack(fd, stream.name, strict=True)
        finally:
            os.close(fd)

    def _add(self, path: Path, opened: Callable[[], int], *, strict: bool = False) -> None:
        self._met += 1
        if path in self._seen:
            return
        self._seen.add(path)
        name = path.relative_to(self._base).as_posix()
        try:
            fd = opened()
        except OSError:
            self._notes.add("unreadable, left out", name)
            return
        except ToolError:
            self._notes.add("symlinks out of the folder or to nothing, left out", name)
            return
        try:
            if not strict and _is_own_output(fd):
                self._notes.add("where the output of this run goes, left out", name)
            elif self._reading.binary:
                self.read(fd, name, strict=strict)
            else:
                self._unpack(fd, name, strict=strict)
        finally:
            os.close(fd)

    def _unpack(self, fd: int, name: str, *, strict: bool) -> None:
        """Read what is in a file, which is itself where it isn't packed."""
        before = len(self.parts)
        with closing(self._unpacker.files(fd, name)) as files:
            for inner, file in files:
                if inner == name or _chosen(inner, self._reading):
                    self.read(file, inner, strict=strict and inner == name)
                else:
                    self._unchosen += 1
        if strict and len(self.parts) == before:
            raise _no_text(name, self._notes.about(name) or self.left_out())

    def read(self, fd: int, name: str, *, strict: bool) -> None:
        """Read an open file that isn't packed; one that is no text is left out with a note, unless `strict`."""
        if not strict and begins_own(os.pread(fd, HEAD_BYTES, 0)):
            self._records += 1
            return
        try:
            self._copy(TextFile.of(fd, name))
        except BinaryFileError:
            if strict:
                raise
            self._notes.add("binary, left out", name)

    def _copy(self, file: TextFile) -> None:
        charset = file.charset(self._reading, self._notes, _pass_over)
        start = self._spool.position
        file.copy(charset, self._spool, self._notes)
        self.parts.append(Part(name=self._unique(file.name), start=start, end=self._spool.position))

    def _unique(self, name: str) -> str:
        # A file name can hold any bytes; what isn't UTF-8 is made visible, and must not collide then.
        name = escape_bytes(name.encode("utf-8", "surrogateescape"))
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def left_out(self) -> str:
        return "; ".join(self._warnings())

    def _warnings(self) -> tuple[str, ...]:
        left = []
        if self._records:
            left.append(f"records of earlier runs were left out ({self._records:,} files or folders of rlm's own)")
        if self._unchosen:
            left.append(f"{self._unchosen:,} files that include and exclude don't choose were left out")
        if ignored := self._ignored + self._unpacker.ignored:
            left.append(f"{ignored:,} hidden or git-ignored entries were left out")
        return (*self._notes.warnings(), *left)

    def context(self, sources: Sequence[str]) -> Context:
        tally, fd, first = self._spool.tally, self._spool.finish(), self.parts[0]
        largest = max(self.parts, key=lambda part: part.size_bytes)
        return Context(
            kind="files",
            fd=fd,
            parts=tuple(self.parts),
            size_bytes=tally.size_bytes,
            chars=tally.chars,
            lines=tally.lines,
            items=len(self.parts),
            shape=text_nature(fd, largest.start, largest.end),
            preview=f"{printable(first.name)}:\n{preview_of(fd, first.start, first.end)}",
            sources=tuple(sources),
            reading=_noted(self._reading),
            warnings=self._warnings(),
            digest=tally.digest([(part.name, part.size_bytes) for part in self.parts]),
        )


def _excluded(reading: Reading) -> Excluded | None:
    if not reading.exclude:
        return None
    try:
        return excluding(reading.exclude)
    except ValueError as error:
        raise ConfigError(f"{error} can't be excluded: give a pattern as in .gitignore, such as '*.gz'.") from error


def _chosen(name: str, reading: Reading) -> bool:
    """Whether a file that was named itself is wanted still."""
    excluded = _excluded(reading)
    if excluded is not None and excluded.match_file(name):
        return False
    return not reading.include or any(matches(name, pattern) for pattern in reading.include)


def _nothing_in(wanted: _Wanted, reading: Reading) -> str:
    """Why nothing was met where files were wanted."""
    given = printable(wanted.given)
    if reading.is_choosy:
        return f"no file in {given} is one that include and exclude choose."
    if wanted.pattern is not None:
        return f"no file fits the pattern {given}."
    return f"there are no files in the folder {given}."


def _no_text(name: str, why: str) -> BinaryFileError:
    return BinaryFileError(f"there is no text in {printable(name)}: {why or 'it is empty'}")


def _is_own_output(fd: int) -> bool:
    """Whether an open file is the one that this process writes to: `rlm run ... -f . > answer.txt`."""
    about = os.fstat(fd)
    for own in (1, 2):
        with suppress(OSError):  # a stream may be closed
            if os.path.samestat(about, os.fstat(own)):
                return True
    return False


def _named(path: Path) -> int:
    """Open a file that the user named itself: data, be it a record."""
    _refuse_exact(path)
    return open_named(path)


def _refuse_exact(path: Path) -> None:
    if is_exact(path.name):
        raise ConfigError(
            f"{printable(str(path))} has the secrets that were masked in a record: no model is given them."
        )


def _open_found(found: WalkedFile, confined: Confined) -> int:
    if found.is_link:  # taken only where it stays in the folder
        return confined.open_read(found.path)
    return found.open()


def open_named(path: Path) -> int:
    """Open a file that a user named. Raises:
    ConfigError: it is missing, unreadable, or no regular file.
    """
    path = path.expanduser()
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{printable(str(path))} is a device, fifo or socket: pipe its data to standard input.")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise ConfigError(f"{printable(str(path))} cannot be read: {error.strerror}.") from error


def _missing(path: Path) -> ConfigError:
    if path.is_symlink():
        return ConfigError(f"{printable(str(path))} is a link to {printable(str(path.readlink()))}, which isn't there.")
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())[:_NAMES_COMPARED]
    except OSError:
        return ConfigError(f"{printable(str(path))} does not exist, nor does its folder.")
    close = get_close_matches(path.name, names, n=1)
    advice = f" Did you mean {printable(str(path.with_name(close[0])))}?" if close else ""
    return ConfigError(f"{printable(str(path))} does not exist.{advice}")


def _is_one_file(path: Path) -> bool:
    return not path.is_dir() and (path.exists() or not _is_glob(path))


def _is_glob(path: Path | str) -> bool:
    return any(char in str(path) for char in "*?[")


def _hides(path: str, pattern: str) -> bool:
    pairs = zip(path.split("/"), pattern.split("/"), strict=True)
    return any(part.startswith(".") and not segment.startswith(".") for part, segment in pairs)


def _pass_over(_block: bytes, _chars: int) -> None:
    return None
