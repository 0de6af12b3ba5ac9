"""Functions and classes of languages other than Python, through tree-sitter and the grammar that each publishes.

The grammars are wheels of their own, with nothing fetched when they are used; tree-sitter-language-pack was weighed and
fetches its grammars over the network at first use.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError
from rlm.helpers.code_facts import Class, Facts, Function
from rlm.helpers.code_parsing import NotParsed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node, Tree

_LISTED = 50
_BRANCHES = frozenset(
    {
        *("if_statement", "if_expression", "for_statement", "for_in_statement", "for_expression", "while_statement"),
        *("while_expression", "loop_expression", "do_statement", "enhanced_for_statement", "switch_case", "match_arm"),
        *("case_statement", "expression_case", "type_case", "switch_label", "catch_clause", "ternary_expression"),
    }
)
_VALUES = frozenset({"arrow_function", "function_expression", "generator_function"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """One language: the module and function that give its grammar, and which of its nodes are definitions."""

    module: str
    function: str = "language"
    functions: frozenset[str]
    classes: frozenset[str]


_SCRIPT = frozenset({"function_declaration", "generator_function_declaration", "method_definition"})
_JAVASCRIPT = Grammar(module="tree_sitter_javascript", functions=_SCRIPT, classes=frozenset({"class_declaration"}))
_TYPES = frozenset({"class_declaration", "abstract_class_declaration", "interface_declaration", "enum_declaration"})


def _typescript(function: str) -> Grammar:
    return Grammar(module="tree_sitter_typescript", function=function, functions=_SCRIPT, classes=_TYPES)


_C = Grammar(
    module="tree_sitter_c", functions=frozenset({"function_definition"}), classes=frozenset({"struct_specifier"})
)
GRAMMARS: dict[str, Grammar] = {
    ".js": _JAVASCRIPT,
    ".jsx": _JAVASCRIPT,
    ".mjs": _JAVASCRIPT,
    ".cjs": _JAVASCRIPT,
    ".ts": _typescript("language_typescript"),
    ".tsx": _typescript("language_tsx"),
    ".go": Grammar(
        module="tree_sitter_go",
        functions=frozenset({"function_declaration", "method_declaration"}),
        classes=frozenset({"type_spec"}),
    ),
    ".rs": Grammar(
        module="tree_sitter_rust",
        functions=frozenset({"function_item"}),
        classes=frozenset({"struct_item", "enum_item", "trait_item", "union_item"}),
    ),
    ".java": Grammar(
        module="tree_sitter_java",
        functions=frozenset({"method_declaration", "constructor_declaration"}),
        classes=frozenset({"class_declaration", "interface_declaration", "enum_declaration", "record_declaration"}),
    ),
    ".c": _C,
    ".h": _C,
}
"""By the end of a file's name."""


def grammar_of(file: str) -> Grammar | None:
    """The grammar for a file, None where it is Python or of no known language."""
    return GRAMMARS.get(PurePosixPath(file).suffix.lower())


def foreign_facts(content: bytes, grammar: Grammar) -> Facts:
    """The functions and classes of a file, in the order of their lines.

    Raises:
        NotParsed: it has a syntax error.
        ConfigError: the grammar is not installed.
    """
    tree = _tree(content, grammar)
    if tree.root_node.has_error:
        line = next((node.start_point[0] + 1 for node in _nodes(tree.root_node) if node.is_error or node.is_missing), 1)
        raise NotParsed("syntax error", line)
    functions: list[Function] = []
    classes: list[Class] = []
    for node in _nodes(tree.root_node):
        if node.type in grammar.functions or _is_named_value(node):
            functions.append(_function(node, grammar))
        elif node.type in grammar.classes and node.child_by_field_name("name") is not None:
            classes.append(_class(node, grammar))
    return Facts(functions=functions, classes=classes, complexity=sum(each.complexity for each in functions))


def _tree(content: bytes, grammar: Grammar) -> Tree:
    try:
        from tree_sitter import Language, Parser

        language = Language(getattr(import_module(grammar.module), grammar.function)())
    except ImportError as error:
        raise ConfigError(f"this language needs {grammar.module}: pip install 'rlm-runtime[code]'") from error
    return Parser(language).parse(content)


def _nodes(top: Node) -> Iterator[Node]:
    """Every node, parents first, in the order of the text."""
    waiting = [top]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(node.children)


def _is_named_value(node: Node) -> bool:
    """`const f = () => ...`."""
    value = node.child_by_field_name("value") if node.type == "variable_declarator" else None
    return value is not None and value.type in _VALUES


def _function(node: Node, grammar: Grammar) -> Function:
    owners = [_name(each) for each in _around(node) if each.type in grammar.classes]
    name = _name(node)
    return Function(
        name=name,
        qualname=".".join([*reversed(owners), name]),
        kind="method" if owners or "method" in node.type else "function",
        start_line=node.start_point[0] + 1,
        end_line=node.end_point[0] + 1,
        args=_parameters(node),
        decorators=[],
        is_async=any(child.type == "async" for child in node.children),
        docstring=False,
        complexity=1 + sum(each.type in _BRANCHES for each in _nodes(node)),
    )


def _class(node: Node, grammar: Grammar) -> Class:
    methods = [_name(each) for each in _nodes(node) if each.type in grammar.functions]
    return Class(
        name=_name(node),
        qualname=_name(node),
        start_line=node.start_point[0] + 1,
        end_line=node.end_point[0] + 1,
        bases=[],
        decorators=[],
        methods=methods[:_LISTED],
        docstring=False,
    )


def _around(node: Node) -> Iterator[Node]:
    outer = node.parent
    while outer is not None:
        yield outer
        outer = outer.parent


def _name(node: Node) -> str:
    """The name of a definition; of a C function it is inside of its declarators."""
    inner: Node | None = node
    while inner is not None:
        if (name := inner.child_by_field_name("name")) is not None:
            return _text(name)
        if inner.type in ("identifier", "field_identifier"):
            return _text(inner)
        inner = inner.child_by_field_name("declarator")
    return "?"


def _parameters(node: Node) -> list[str]:
    """The names of parameters, as far as each has one."""
    inner: Node | None = node.child_by_field_name("value") or node
    found = None
    while inner is not None and found is None:
        found = inner.child_by_field_name("parameters")
        inner = inner.child_by_field_name("declarator")
    named = [] if found is None else found.named_children
    parts = [part for each in named if each.type != "comment" for part in each.children_by_field_name("name") or [each]]
    return [_parameter(each) for each in parts][:_LISTED]


def _parameter(node: Node) -> str:
    for field in ("name", "pattern", "left", "declarator"):
        if (part := node.child_by_field_name(field)) is not None:
            return _parameter(part)
    return _text(node)


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")[:100]
