"""Failures are caught where they are understood; the few places that catch everything are listed with their reason."""

from __future__ import annotations

import ast

from tests.architecture.sources import Module, functions, listed, modules

BROAD = {"Exception", "BaseException"}

CATCHES_EVERYTHING = {
    "rlm.cli.main:call": "the top of the command line: a message and an exit code for everything",
    "rlm.confined.server:_Child._outcome": "a parser of hostile data may raise anything; it is told to the host",
    "rlm.core.foreign:_settle": "raised to whoever waits for the thread",
    "rlm.core.loop.orchestrator:Orchestrator._to_end": "the boundary of a completion: any failure is its outcome",
    "rlm.core.record.recorder:Recorder._flush": "a failing sink is detached and reported",
    "rlm.core.record.recorder:Recorder._offer": "a failing sink is detached and reported",
    "rlm.documents.readers.pdf:pdf": "pypdf raises whatever a damaged page leads it to; the page is left out, and said",
    "rlm.helpers.edits.inference:Inference._definitions": "Jedi may stumble over any code; then nothing is inferred",
    "rlm.repl.calls:CellCalls._answer": "a fault of the host, raised to its caller and never shown to guest code",
    "rlm.repl.docker.engines:_in_thread.run": "raised to the caller, on its event loop",
    "rlm.repl.guest.contained:main": "a guest never returns into the code of process 1",
    "rlm.repl.guest.remote.serving:main": "a guest never returns into the code of process 1",
    "rlm.repl.guest.errors:_bare_traceback": "guest code may have broken what the traceback needs",
    "rlm.repl.guest.errors:_message": "the message of an exception is guest code",
    "rlm.repl.guest.errors:_traceback": "guest code may have broken what the traceback needs",
    "rlm.repl.guest.namespace:Namespace._execute": "whatever guest code raises is a result",
    "rlm.repl.guest.namespace:Namespace.execute": "guest code may have broken what runs after it",
    "rlm.repl.guest.namespace:_row": "the size of a value is guest code",
    "rlm.repl.guest.linux.zygote:Zygote._become_guest": "a guest never returns into the loop of its zygote",
    "rlm.repl.guest.linux.zygote:_preload": "a package of the user's may raise anything when it is imported",
    "rlm.runtime.hooks:HookSet._said": "a hook is the user's code: whatever it raises is a no",
    "rlm.runtime.user_code:UserSink._have": "raised to the run by the next event",
    "rlm.tools.mcp.connection:Connection._live": "an MCP server can make the library raise anything",
    "rlm.repl.live:LiveGuest._pass_on": "a fault of the host, raised from `run`",
}
"""`module:function` -> why it may swallow any exception. Ending with `raise` needs no entry."""


def is_broad(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or ast.unparse(kind).rpartition(".")[2] in BROAD for kind in caught)


def reraises(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.body[-1], ast.Raise)


def handlers(tree: ast.AST) -> list[ast.ExceptHandler]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]


def swallowers(module: Module) -> set[str]:
    """The innermost functions of a module with a handler that swallows everything."""
    names = {
        f"{module.name}:{name}"
        for name, function in functions(module)
        if any(is_broad(handler) and not reraises(handler) for handler in handlers(function))
    }
    return {name for name in names if not any(other.startswith(name + ".") for other in names)}


def is_silent(handler: ast.ExceptHandler) -> bool:
    return len(handler.body) == 1 and isinstance(handler.body[0], ast.Pass)


def test_no_handler_is_silent() -> None:
    silent = [module.at(h.lineno) for module in modules() for h in handlers(module.tree) if is_silent(h)]
    assert not silent, "contextlib.suppress says the same with a name and a reason:" + listed(silent)


def test_only_listed_functions_catch_everything() -> None:
    found = set().union(*(swallowers(module) for module in modules()))
    assert found == set(CATCHES_EVERYTHING)
