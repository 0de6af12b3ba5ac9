"""What the document of the helpers shows, done by each of its calls: on the host, and in a cell of every sandbox.

The examples are the same text through both doors. Only a listing differs: a cell has `fs.glob` for the file system.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from rlm import RLM, Config, Session, load_skill, mask_secrets, save_skill
from rlm.backends.scripted import ScriptedBackend, tool_call
from tests.support.environments import COLD, EACH
from tests.support.git_trees import run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Door = Callable[[Iterable[str]], list[Any]]

DOORS = ["host", *EACH]
IMPORTS = "from rlm.helpers import fs, code, transform, git\n"
LISTING = {
    "host": "from pathlib import Path\nfiles = sorted(Path('.').glob('**/*.py'))\n",
    "cell": "files = sorted(fs.glob('**/*.py'))\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A piece of code that leaves `result`."""

    code: str
    result: Any
    leaves: dict[str, str]
    """Text that files have afterwards."""


FIRST_STEPS = Example(
    code="""
functions = code.find_functions('app.py')
renamed = transform.rename_identifier('.', 'old_name', 'new_name', '**/*.py')
block = fs.copy_lines('source.py', 10, 20)
fs.paste_code('target.py', 50, block)
result = [len(functions), renamed['files_modified']]
""",
    result=[6, 2],
    leaves={"use.py": "import os\nfrom app import new_name, getUserData\n\nprint(new_name(), getUserData())\n"},
)
RENAME = Example(
    code="""
found = transform.rename_identifier(
    pattern='.',
    old_name='getUserData',
    new_name='fetchUserData',
    file_pattern='**/*.py',
)
result = {'files': found['files_modified'], 'replacements': found['total_replacements']}
""",
    result={"files": 2, "replacements": 3},
    leaves={"use.py": "import os\nfrom app import old_name, fetchUserData\n\nprint(old_name(), fetchUserData())\n"},
)
EXTRACT = Example(
    code="""
functions = code.find_functions('app.py', pattern='.*_util$')
for func in functions:
    code_block = fs.copy_lines('app.py', func['start_line'], func['end_line'])
    fs.paste_code('utils.py', -1, code_block)
result = {'count': len(functions), 'names': [f['name'] for f in functions]}
""",
    result={"count": 1, "names": ["trim_util"]},
    leaves={"utils.py": "def trim_util(text):\n    return text.strip()\n"},
)
AUDIT = Example(
    code="""
issues = []
for file in files:
    deps = code.analyze_dependencies(str(file))
    unused = code.find_unused_imports(str(file))
    if unused or deps['complexity'] > 10:
        issues.append({'file': str(file), 'unused': [each['name'] for each in unused]})
result = {'audited': len(files), 'issues': issues}
""",
    result={"audited": 4, "issues": [{"file": "use.py", "unused": ["os"]}]},
    leaves={},
)
FILES = Example(
    code="""
block = fs.copy_lines('source.py', start_line=10, end_line=11)
fs.paste_code('target.py', line_number=1, code=block, create_backup=True)
done = fs.search_replace(file_pattern='**/*.py', search='old_name', replace='newer_name', regex=False)
copied = fs.batch_copy([
    {'source_file': 'source.py', 'start_line': 1, 'end_line': 2, 'target_file': 'use.py', 'target_line': 1},
    {'source_file': 'use.py', 'start_line': 1, 'end_line': 1, 'target_file': 'source.py', 'target_line': 1},
])
result = [block, done['files_modified'], copied['operations'], fs.copy_lines('target.py', 1, 3)]
""",
    result=["s10 = 10\ns11 = 11\n", 2, 2, "s10 = 10\ns11 = 11\nt1 = 1\n"],
    leaves={
        "use.py": "s1 = 1\ns2 = 2\nimport os\nfrom app import newer_name, getUserData\n\n"
        "print(newer_name(), getUserData())\n"
    },
)
ANALYSIS = Example(
    code="""
functions = code.find_functions('app.py', pattern='handle_.*')
classes = code.find_classes('app.py')
deps = code.analyze_dependencies('app.py')
lines = [[f['name'], f['start_line'], f['end_line']] for f in functions]
result = [lines, classes[0]['name'], classes[0]['methods'], deps['functions'], deps['complexity']]
""",
    result=[[["handle_request", 10, 13]], "User", ["__init__", "save"], 6, 7],
    leaves={},
)
CHANGES = Example(
    code="""
transform.rename_identifier(pattern='.', old_name='old_name', new_name='newName', file_pattern='**/*.py')
removed = transform.remove_debug_statements('app.py')
documented = transform.add_docstrings('use.py', style='google')
result = [removed['files_modified'], documented['files_modified']]
""",
    result=[1, 0],
    leaves={"use.py": "import os\nfrom app import newName, getUserData\n\nprint(newName(), getUserData())\n"},
)
REPOSITORY = Example(
    code="""
status = git.git_status()
git.git_add(['.'])
git.git_commit('feat: a new module')
git.create_branch('feature/new', checkout=True)
git.git_push('origin', 'feature/new')
result = [status['files']['modified'], status['files']['untracked'], git.current_branch()]
""",
    result=[["app.py"], ["new.py"], "feature/new"],
    leaves={},
)
EXAMPLES = {
    "first steps": FIRST_STEPS, "rename": RENAME, "extract": EXTRACT, "audit": AUDIT,
    "files": FILES, "analysis": ANALYSIS, "changes": CHANGES,
}  # fmt: skip
APP = """\
def old_name():
    return 1
def getUserData():
    return 2


def trim_util(text):
    return text.strip()

def handle_request(request):
    print("here")
    if request:
        return request
class User:
    def __init__(self):
        self.name = ""
    def save(self):
        return self.name
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the examples work in, which is where the host stands."""
    for name in ("STATE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    folder = tmp_path / "tree"
    folder.mkdir()
    monkeypatch.chdir(folder)
    lay_out(folder)
    return folder


def lay_out(folder: Path) -> None:
    """Have the folder hold what an example begins with, and nothing else."""
    for path in folder.iterdir():
        path.unlink()
    (folder / "app.py").write_text(APP)
    (folder / "use.py").write_text(
        "import os\nfrom app import old_name, getUserData\n\nprint(old_name(), getUserData())\n"
    )
    for name in ("source", "target"):
        (folder / f"{name}.py").write_text("".join(f"{name[0]}{n} = {n}\n" for n in range(1, 60)))


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, tree: Path) -> Door:
    """Runs pieces of code, each taken when the one before has run, and gives the `result` that each leaves."""

    def on_host(codes: Iterable[str]) -> list[Any]:
        return list(map(result_of, codes))

    def in_cells(codes: Iterable[str]) -> list[Any]:
        cells = chain(["results = []"], (f"{code}\nresults.append(result)" for code in codes), ["FINAL(results)"])
        config = Config(
            environment=request.param,
            allowed_paths=(str(tree),),
            helper_rights=("read", "write", "git", "push"),
            log_dir=str(tree.parent / "logs"),
            **COLD,
        )
        backend = ScriptedBackend(lambda _request: tool_call("execute_code", code=next(cells)))
        with RLM(backend, config=config) as rlm:
            return rlm.completion("Go.").raise_for_status().value

    return on_host if request.param == "host" else in_cells


def result_of(code: str) -> Any:
    names: dict[str, Any] = {}
    exec(IMPORTS + code, names)
    return names["result"]


def test_every_example_does_the_same_through_every_door(door: Door, request: pytest.FixtureRequest, tree: Path) -> None:
    listing = LISTING["host" if request.node.callspec.params["door"] == "host" else "cell"]
    left = {}

    def codes() -> Iterator[str]:
        for name, example in EXAMPLES.items():
            lay_out(tree)
            yield listing + example.code
            left[name] = {file: (tree / file).read_text() for file in example.leaves}

    results = dict(zip(EXAMPLES, door(codes()), strict=True))
    assert results == {name: example.result for name, example in EXAMPLES.items()}
    assert left == {name: example.leaves for name, example in EXAMPLES.items()}


@pytest.mark.parametrize("door", ["local"], indirect=True)
def test_an_audit_of_a_hundred_files_file_by_file_fits_the_default_budget(door: Door, tree: Path) -> None:
    for number in range(100):
        (tree / f"module_{number}.py").write_text("import os\n")
    (audit,) = door([LISTING["cell"] + AUDIT.code])
    assert (audit["audited"], len(audit["issues"])) == (104, 101)


def test_a_branch_is_committed_and_pushed_through_every_door(
    door: Door, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = make_remote(tree, tmp_path, monkeypatch)
    (tree / "app.py").write_text("# other\n")
    (tree / "new.py").write_text("# new\n")
    assert door([REPOSITORY.code]) == [REPOSITORY.result]
    assert run_git(remote, "log", "-1", "--format=%s", "feature/new") == "feat: a new module"


def test_secrets_sessions_and_skills_of_the_document(tree: Path) -> None:
    found = {"api_key": "sk_live_abc123", "status": "success"}
    assert mask_secrets(str(found)) == "{'api_key': '[REDACTED_API_KEY]', 'status': 'success'}"
    state = {"processed": ["a.py"], "remaining": ["b.py"], "errors": []}
    Session("modernize-codebase", "Update to Python 3.11+ syntax").save_state(state)
    assert Session("modernize-codebase").load_state() == state
    save_skill(name="shout", code="def transform(code):\n    return code.upper()\n", description="Shout")
    assert load_skill("shout")("a") == "A"


def make_remote(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in the tree, and one that it pushes to by a stand-in for ssh."""
    run_git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    programs = tmp_path / "bin"
    programs.mkdir()
    ssh = programs / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nunset $(git rev-parse --local-env-vars)\neval "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    run_git(tree, "init", "--quiet", "--initial-branch=main", ".")
    run_git(tree, "config", "user.name", "Someone")
    run_git(tree, "config", "user.email", "someone@example.org")
    run_git(tree, "add", ".")
    run_git(tree, "commit", "--quiet", "-m", "first")
    run_git(tree, "remote", "add", "origin", f"ssh://someone@host{tmp_path}/remote.git")
    return tmp_path / "remote.git"
