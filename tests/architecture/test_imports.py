"""Who may import which third-party package. The arrows between the project's own packages are in pyproject.toml."""

from __future__ import annotations

import re
import tomllib

from tests.architecture.sources import ROOT, SRC, Import, Module, imports, listed, modules, modules_in, within

AT_LOAD = {
    "rlm": {"msgspec"},
    "rlm.core": {"msgspec", "tomli"},
    "rlm.acp": {"acp", "msgspec", "pydantic"},
    "rlm.backends": {"aiohttp", "msgspec"},
    "rlm.client": {"aiohttp", "msgspec"},
    "rlm.service": {"aiohttp", "msgspec"},
    "rlm.cli": {"click", "msgspec", "rich", "typer"},
    "rlm.files": {"msgspec", "pathspec"},
    "rlm.mcp.server": {"mcp", "mcp_types", "msgspec", "pydantic"},
    "rlm.repl.guest": set(),
    "rlm.repl.guest.policy.proxies": {"RestrictedPython"},
    "rlm.repl.guest.policy.restricted": {"RestrictedPython"},
    "rlm.runtime.schema_checks": {"jsonschema", "referencing"},
    "rlm.testing": {"pytest", "pytest_asyncio"},
    "rlm.sinks": {"msgspec", "rich"},
    "rlm.tools": {"msgspec"},
    "rlm.tools.mcp": {"aiohttp", "anyio", "httpx2", "mcp", "msgspec"},
}
"""What a module may import when it loads; the longest name that fits it decides."""

ON_DEMAND = {
    "streamlit": "only where the pages of the visualizer are served",
    "tree_sitter": "only where code of another language is looked at",
    "pypdf": "only in the confined process that reads a PDF",
    "jedi": "only where a rename asks what it infers",
    "ruff": "only to find its program, for unused imports",
    "duckdb": "only where tables are read, or written as Parquet",
    "ray": "only where runs are made on a cluster",
    "docker": "only where the sandbox of that name is used",
    "requests": "with docker",
    "e2b": "only where the sandbox of that name is used",
    "httpx": "with e2b",
    "charset_normalizer": "only where a file is no UTF-8",
    "pydantic": "the user's own dependency; never needed by the package",
    "rich": "only on a terminal",
    "tomli": "only where a configuration file is read",
    "tomlkit": "only where a configuration file is written",
    "aiohttp": "only where a provider is called or requests are answered",
    "uvicorn": "only where the MCP server speaks HTTP",
    "numpy": "the user's own dependency",
    "pandas": "the user's own dependency",
}
"""What may be imported inside functions, and why not above."""

NAMED_OTHERWISE = {
    "acp": "agent-client-protocol",
    "charset_normalizer": "charset-normalizer",
    "click": "typer",
    "anyio": "mcp",
    "httpx2": "mcp",
    "mcp_types": "mcp",
    "referencing": "jsonschema",
    "pytest_asyncio": "pytest-asyncio",
    "requests": "docker",
    "httpx": "e2b",
    "tree_sitter": "tree-sitter",
    "rich": "typer",
    "uvicorn": "mcp",
}
"""The requirement that brings a module whose name differs."""


def allowed_at_load(module: str) -> set[str]:
    return AT_LOAD[max((name for name in AT_LOAD if within(module, name)), key=len)]


def allowed(module: str, each: Import) -> bool:
    return each.top in allowed_at_load(module) or (each.lazy and each.top in ON_DEMAND)


def stated(module: Module, each: Import) -> str:
    return f"{module.at(each.line)}: {each.target}"


def guest_only(each: Import) -> bool:
    return within(each.target, "rlm.repl.guest") or (each.top != "rlm" and not each.third_party)


def test_third_party_imports_are_agreed() -> None:
    third_party = [(module, each) for module in modules() for each in imports(module) if each.third_party]
    odd = [stated(module, each) for module, each in third_party if not allowed(module.name, each)]
    assert not odd, listed(odd)


def test_every_third_party_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines}
    used = {each.top for module in modules() for each in imports(module) if each.third_party}
    users_own = {name for name, reason in ON_DEMAND.items() if reason.startswith("the user's own")}
    assert {NAMED_OTHERWISE.get(top, top) for top in used - users_own} <= declared


def test_the_guest_carries_nothing_of_the_host() -> None:
    carried = [(module, each) for module in modules_in("rlm.repl.guest") for each in imports(module)]
    foreign = [stated(*each) for each in carried if not guest_only(each[1]) and each[1].top != "RestrictedPython"]
    assert carried
    assert not foreign, listed(foreign)


def test_the_package_does_not_use_its_own_facade() -> None:
    packages = {path.stem for path in (SRC / "rlm").iterdir()}
    taken = [(module, each) for module in modules() for each in imports(module) if each.target == "rlm"]
    odd = [stated(*each) for each in taken if not packages.issuperset(each[1].names)]
    assert not odd, listed(odd)


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in SRC.rglob("*.py")} - {SRC}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
