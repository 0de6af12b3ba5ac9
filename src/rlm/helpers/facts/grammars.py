"""The languages other than Python that can be read, and the nodes of their grammars that are definitions.

Each grammar is a wheel, so nothing is fetched at run time; tree-sitter-language-pack fetches its grammars over the
network at first use.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError
from rlm.core.extras import install_command

if TYPE_CHECKING:
    from tree_sitter import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """One language: the module and function that give its grammar, and which of its nodes are definitions."""

    module: str
    function: str = "language"
    functions: frozenset[str]
    classes: frozenset[str]


_SCRIPT = frozenset({"function_declaration", "generator_function_declaration", "method_definition"})
_JAVASCRIPT = Grammar(
    module="tree_sitter_javascript", functions=_SCRIPT, classes=frozenset({"class_declaration", "class"})
)


def _typescript(function: str) -> Grammar:
    return Grammar(
        module="tree_sitter_typescript",
        function=function,
        functions=_SCRIPT | {"method_signature", "abstract_method_signature"},
        classes=frozenset(
            {"class_declaration", "abstract_class_declaration", "class", "interface_declaration", "enum_declaration"}
        ),
    )


_TYPESCRIPT = _typescript("language_typescript")
_C = Grammar(
    module="tree_sitter_c",
    functions=frozenset({"function_definition"}),
    classes=frozenset({"struct_specifier", "union_specifier", "enum_specifier"}),
)
GRAMMARS: dict[str, Grammar] = {
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs"), _JAVASCRIPT),
    **dict.fromkeys((".ts", ".mts", ".cts"), _TYPESCRIPT),
    ".tsx": _typescript("language_tsx"),
    ".go": Grammar(
        module="tree_sitter_go",
        functions=frozenset({"function_declaration", "method_declaration", "method_elem"}),
        classes=frozenset({"type_spec"}),
    ),
    ".rs": Grammar(
        module="tree_sitter_rust",
        functions=frozenset({"function_item", "function_signature_item"}),
        classes=frozenset({"struct_item", "enum_item", "trait_item", "union_item"}),
    ),
    ".java": Grammar(
        module="tree_sitter_java",
        functions=frozenset({"method_declaration", "constructor_declaration", "compact_constructor_declaration"}),
        classes=frozenset(
            {
                *("class_declaration", "interface_declaration", "enum_declaration", "record_declaration"),
                "annotation_type_declaration",
            }
        ),
    ),
    **dict.fromkeys((".c", ".h"), _C),
}
"""The grammar for each suffix of a file's name."""


def grammar_of(file: str) -> Grammar | None:
    """The grammar for a file; None for Python and for unknown languages."""
    return GRAMMARS.get(PurePosixPath(file).suffix.lower())


def tree_of(content: bytes, grammar: Grammar) -> Tree:
    """The tree of a file, with nodes for code that is not correct.

    Raises:
        ConfigError: the grammar is not installed.
    """
    try:
        from tree_sitter import Language, Parser

        language = Language(getattr(import_module(grammar.module), grammar.function)())
    except ImportError as error:
        raise ConfigError(f"this language needs {grammar.module}\n{install_command('code')}") from error
    return Parser(language).parse(content)
