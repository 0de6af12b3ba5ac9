"""What the helpers save, counted with a real tokenizer: four refactorings of a real package, each done both ways.

`python -m benchmarks.savings` writes docs/savings.md. The tree is a copy of aiohttp as it is installed, the tokenizer
OpenAI's o200k_base (its vocabulary comes with litellm, so nothing is fetched).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.figures import Figure
from rlm import RLM, Config
from rlm.backends.scripted import ScriptedBackend
from rlm.helpers import HelperSet, open_helpers

DOCUMENT = Path(__file__).parent.parent / "docs" / "savings.md"
PACKAGE = "aiohttp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One refactoring, and the text that goes through a conversation either way."""

    name: str
    files: int
    by_files: str
    """Calls and results when a model reads and edits files itself."""
    by_helper: str
    """The cell that a model writes, and what it prints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    files: int
    by_files: int
    by_helper: int

    @property
    def saved(self) -> float:
        return 1 - self.by_helper / self.by_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A word that is to be renamed."""

    places: int
    """Where it stands as a word."""
    renamed: int
    """Where it means the function."""


def savings() -> list[Figure]:
    """Tokens through the helper for each token through files; smaller is better."""
    return [Figure(name=f"tokens: {row.name}", value=row.by_helper / row.by_files, unit="x") for row in rows()]


def rows() -> list[Row]:
    """Do each task both ways and count."""
    count = _counter()
    return [
        Row(name=task.name, files=task.files, by_files=count(task.by_files), by_helper=count(task.by_helper))
        for task in _tasks()
    ]


def document() -> str:
    """The page with the table."""
    lines = [f"| {row.name} | {row.files} | {row.by_files:,} | {row.by_helper:,} | {row.saved:.1%} |" for row in rows()]
    mention = _by_text()
    shell = _call("bash", command="grep -rlw set_exception . | xargs sed -i 's/\\bset_exception\\b/store_exception/g'")
    with TemporaryDirectory() as folder:
        told = _told(Path(folder))
    return _PAGE.format(
        package=PACKAGE,
        version=importlib.metadata.version(PACKAGE),
        table="\n".join(lines),
        told=told,
        shell=_counter()(shell),
        places=mention.places,
        others=mention.places - mention.renamed,
    )


def _tasks() -> Iterable[Task]:
    for make in (_rename, _rename_unread, _rename_looked_at, _extract, _audit, _clean):
        with _copy() as (tree, helpers):
            yield make(tree, helpers)


@contextmanager
def _copy() -> Iterator[tuple[Path, HelperSet]]:
    """The package as it is installed, to be worked on."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    source = Path(next(iter(spec.submodule_search_locations)))
    with TemporaryDirectory() as folder:
        tree = Path(folder, PACKAGE)
        shutil.copytree(source, tree, ignore=lambda _at, names: [n for n in names if n == "__pycache__"])
        os.environ["XDG_STATE_HOME"] = str(Path(folder, "state"))
        yield tree, open_helpers(tree)


def _rename(tree: Path, helpers: HelperSet) -> Task:
    before = _texts(tree)
    call = 'print(transform.rename_identifier(".", "set_exception", "store_exception"))'
    result = helpers.transform.rename_identifier(".", "set_exception", "store_exception")
    changed = [row["file"] for row in result["files"]]
    search = _call("grep", pattern="set_exception", path=".") + "".join(
        f"{name}:{number}:{line}\n"
        for name, text in before.items()
        for number, line in enumerate(text.splitlines(), 1)
        if "set_exception" in line
    )
    edits = "".join(_edited(name, before[name], (tree / name).read_text(encoding="utf-8")) for name in changed)
    return Task(
        name="Rename a function in every module that uses it",
        files=len(changed),
        by_files=search + _read(before, changed) + edits,
        by_helper=_cell(call, result),
    )


def _rename_unread(tree: Path, helpers: HelperSet) -> Task:
    """As `_rename`, for a model that edits what its search has shown and reads no file."""
    before = _texts(tree)
    whole = _rename(tree, helpers)
    changed = [name for name, text in before.items() if (tree / name).read_text(encoding="utf-8") != text]
    return Task(
        name="The same, edited from the search alone",
        files=whole.files,
        by_files=whole.by_files.replace(_read(before, changed), ""),
        by_helper=whole.by_helper,
    )


def _rename_looked_at(tree: Path, helpers: HelperSet) -> Task:
    """As `_rename_unread`, for a model that looks at the whole diff before the helper writes it."""
    name = '"set_exception", "store_exception"'
    preview = helpers.transform.rename_identifier(".", "set_exception", "store_exception", dry_run=True)
    looked_at = _cell(f'print(transform.rename_identifier(".", {name}, dry_run=True)["diff"])', preview["diff"])
    unread = _rename_unread(tree, helpers)
    return Task(
        name="The same, and the helper's diff looked at before",
        files=unread.files,
        by_files=unread.by_files,
        by_helper=looked_at + unread.by_helper,
    )


def _extract(tree: Path, helpers: HelperSet) -> Task:
    file = "helpers.py"
    source = _texts(tree)[file]
    found = helpers.code.find_functions(file, pattern="(is|parse|set)_.*")
    found = [each for each in found if each["kind"] == "function"]
    lines = source.splitlines(keepends=True)
    moved = "".join("".join(lines[each["start_line"] - 1 : each["end_line"]]) for each in found)
    call = (
        f'for each in code.find_functions("{file}", pattern="(is|parse|set)_.*"):\n'
        '    if each["kind"] == "function":\n'
        f'        fs.paste_code("extracted.py", -1, fs.copy_lines("{file}", each["start_line"], each["end_line"]))\n'
        '        print(each["name"])'
    )
    return Task(
        name=f"Copy {len(found)} functions to a new module",
        files=1,
        by_files=_read({file: source}, [file]) + _call("write", path="extracted.py", content=moved),
        by_helper=_cell(call, "\n".join(each["name"] for each in found)),
    )


def _audit(tree: Path, helpers: HelperSet) -> Task:
    before = _texts(tree)
    call = (
        'unused = code.find_unused_imports(".")\n'
        'print([(each["file"], each["name"]) for each in unused["unused_imports"]])\n'
        'complex_ = code.find_complex(".", above=15)\n'
        'print([(each["file"], each["qualname"], each["complexity"]) for each in complex_["functions"]])'
    )
    unused = helpers.code.find_unused_imports(".")["unused_imports"]
    hard = helpers.code.find_complex(".", above=15)["functions"]
    result = [
        [(each["file"], each["name"]) for each in unused],
        [(each["file"], each["qualname"], each["complexity"]) for each in hard],
    ]
    answer = "\n".join(map(str, result))
    return Task(
        name="Audit every module: unused imports, functions too complex",
        files=len(before),
        by_files=_read(before, before) + answer,
        by_helper=_cell(call, answer),
    )


def _clean(tree: Path, helpers: HelperSet) -> Task:
    before = _texts(tree)
    call = 'print(transform.add_docstrings(".", private=False))'
    result = helpers.transform.add_docstrings(".", private=False)
    changed = [row["file"] for row in result["files"]]
    edits = "".join(_edited(name, before[name], (tree / name).read_text(encoding="utf-8")) for name in changed)
    return Task(
        name="Add the missing docstrings of public functions",
        files=len(changed),
        by_files=_read(before, changed) + edits,
        by_helper=_cell(call, result),
    )


def _told(folder: Path) -> int:
    """The tokens by which a run's first messages are longer where there is a workspace."""
    told = []
    for allowed in ((), (str(folder),)):
        backend = ScriptedBackend(["done"])
        with RLM(backend, config=Config(allowed_paths=allowed, log_dir=str(folder / "logs"))) as rlm:
            rlm.completion("Go.").raise_for_status()
        told.append("".join(message.content for message in backend.requests[0].messages))
    count = _counter()
    return count(told[1]) - count(told[0])


def _by_text() -> Mention:
    """What replacing the word of the first task as text, as a shell would, touches beyond the function."""
    with _copy() as (tree, helpers):
        _rename(tree, helpers)
        renamed = sum(text.count("store_exception") for text in _texts(tree).values())
    with _copy() as (tree, _):
        places = sum(len(re.findall(r"\bset_exception\b", text)) for text in _texts(tree).values())
    return Mention(places=places, renamed=renamed)


def _texts(tree: Path) -> dict[str, str]:
    return {path.relative_to(tree).as_posix(): path.read_text(encoding="utf-8") for path in sorted(tree.rglob("*.py"))}


def _read(texts: dict[str, str], names: Iterable[str]) -> str:
    return "".join(_call("read", path=name) + texts[name] for name in names)


def _edited(name: str, before: str, after: str) -> str:
    """One edit for each place that differs: the lines as they were, the lines as they are, and a short answer."""
    import difflib

    old, new = before.splitlines(), after.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return "".join(
        _call("edit", path=name, old="\n".join(old[a:b] or old[a - 1 : a]), new="\n".join(new[c:d])) + "ok\n"
        for kind, a, b, c, d in matcher.get_opcodes()
        if kind != "equal"
    )


def _call(name: str, **arguments: str) -> str:
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False) + "\n"


def _cell(code: str, printed: Any) -> str:
    return _call("execute_code", code=code) + str(printed) + "\n"


def _counter() -> Callable[[str], int]:
    spec = importlib.util.find_spec("litellm")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(next(iter(spec.submodule_search_locations)), "litellm_core_utils", "tokenizers")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    import tiktoken

    encoding = tiktoken.get_encoding("o200k_base")
    return lambda text: len(encoding.encode(text, disallowed_special=()))


_PAGE = """# What the helpers save

Written by `python -m benchmarks.savings`: four refactorings of {package} {version} as it is installed, each done both
ways, with the tokens that pass through the conversation counted by `tiktoken` (`o200k_base`).

| task | files concerned | through files | through a helper | saved |
|---|---:|---:|---:|---:|
{table}

**Through files**: one search where names are looked for, each file that is changed or judged read once and whole, one
edit call for each place with its lines before and after, `ok` for an answer. This is the least a model without helpers
could do that looks at what it changes: no file is read twice, no edit fails, nothing is thought aloud. The second line
is a model that edits from the search alone, and trusts that it picks the lines that mean that function.

**Through a helper**: the cell that makes the calls, and all that it prints. In the third line the model looks at the
whole diff first (`dry_run=True`, at most 40,000 characters, some 10,000 tokens); otherwise it sees counts and names.

## What a doubter would ask

- **What it costs to be told.** A run with a workspace has {told} tokens more in its first messages (the file tools and
  the list of helpers), once, and most providers cache them. They are in no line above. So one rename of a few lines in
  a small file is no cheaper by a helper, and reading that file is the better way.
- **A shell does that too.** `sed` over `grep -l` renames with {shell} tokens, less than the helper. It would change
  {others} of the {places} places that have the word and mean something else: methods of that name, those of asyncio
  among them. Where the text is what is meant, `fs.search_replace` is that `sed`, with a diff, undo, and no shell. An
  audit by Ruff in a shell costs what its output costs; the helper is Ruff and a parser where there is no shell.
- **Later turns.** Each sends the conversation again, which makes the first way dearer still; prompt caches make it
  cheaper. Neither is counted, nor are the rest of the system prompt and the schemas of tools.
- **The same result?** Of the renames and copies, yes: the edits counted on the left are those that the helper made.
  The docstrings of the helper are made of names and signatures; those of a model that read the code would say more. A
  reader of all files would find more than unused imports and complexity.
- **Chosen tasks.** Bulk is where helpers save. What needs each file read and understood saves nothing.
"""


def main() -> None:
    """Write the page."""
    DOCUMENT.write_text(re.sub(r"\n{3,}", "\n\n", document()), encoding="utf-8")
    print(DOCUMENT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
