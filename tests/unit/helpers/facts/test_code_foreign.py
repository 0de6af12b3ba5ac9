"""Hard cases of other languages: names alone come back, of whatever is nested, quoted, generic, broken or hostile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import code

if TYPE_CHECKING:
    from pathlib import Path

HARD = {
    "a.js": """\
class A extends mixin(B) {
  handle = async () => 1;
  static m({a, b = "secret"}, [c], d = "secret", ...r) { function inner() {} }
  get y() { return x ? 1 : 2 }
}
const o = { m() {}, "k": function() {}, j: x => x };
module.exports.run = function () {};
const K = class extends Q { z() {} };
class L extends 42 {}
""",
    "a.ts": """\
@D("secret") export class A<T> extends B<T> implements J.K {
  @p("secret")
  m(@I("secret") private a: string = "secret", b?: number, ...c: any[]): void {}
  abstract q(): void;
}
interface I extends X<Z> { m(a: string): void }
""",
    "a.go": "package a\ntype S[T any] struct {}\nfunc (s *S[T]) Open(a, b int, rest ...string) {}\n",
    "a.rs": """\
struct S<T> { a: T }
impl<T> Tr for a::S<T> {
    #[test]
    async fn m(&mut self, (a, b): (i32, i32), mut c: u8) {}
}
trait Tr: Sup + Other<T> { fn n(&self); }
""",
    "a.java": """\
@Ann("secret") class A<T> extends B<T> implements I {
  @Override
  <T> void m(final int a, String... r) { new R() { public void run() {} }; }
  record R(int x) { R {} }
}
""",
    "a.c": """\
typedef struct { int x; } Foo;
struct Bar *p(struct Bar *q, void (*cb)(int)) { return q; }
static int (*get(int x))(void) { return 0; }
int k(a, b) int a; int b; { return a ? 1 : 2; }
""",
}


def line_of(row: dict[str, Any]) -> str:
    """A row as one line: `@decorator Class.name(arguments or bases) methods`."""
    marks = [f"@{each}" for each in row["decorators"]]
    inside = ", ".join(row["args"] if "args" in row else row["bases"])
    return " ".join([*marks, f"{row['qualname']}({inside})", *row.get("methods", ())])


@pytest.mark.parametrize(
    ("file", "functions", "classes"),
    [
        (
            "a.js",
            ["A.handle()", "A.m(?, ?, d, ...r)", "A.m.inner()", "A.y()", "m()", "k()", "j(x)", "run()", "K.z()"],
            ["A(mixin) handle m y", "K(Q) z", "L(?)"],
        ),
        ("a.ts", ["@p A.m(a, b, ...c)", "A.q()", "I.m(a)"], ["@D A(B, J.K) m q", "I(X) m"]),
        ("a.go", ["S.Open(a, b, rest)"], ["S() Open"]),
        ("a.rs", ["@test S.m(self, ?, c)", "Tr.n(self)"], ["S() m", "Tr(Sup, Other) n"]),
        ("a.java", ["@Override A.m(a, ...r)", "A.m.run()", "A.R.R()"], ["@Ann A(B, I) m", "A.R() R"]),
        ("a.c", ["p(q, cb)", "get(x)", "k(a, b)"], ["Foo()"]),
    ],
)
def test_hard_cases_are_told_by_names_alone(tree: Path, file: str, functions: list[str], classes: list[str]) -> None:
    (tree / file).write_text(HARD[file])
    assert [line_of(row) for row in code.find_functions(file)] == functions
    assert [line_of(row) for row in code.find_classes(file)] == classes


def test_what_a_function_is_made_of_is_counted_and_marked(tree: Path) -> None:
    (tree / "a.js").write_text(HARD["a.js"])
    (tree / "a.ts").write_text(HARD["a.ts"])
    rows = {row["qualname"]: row for row in code.find_functions("a.js")}
    assert (rows["A.handle"]["is_async"], rows["A.m"]["is_async"]) == (True, False)
    assert (rows["A.y"]["complexity"], rows["A.m.inner"]["kind"]) == (2, "nested")
    (method,) = code.find_functions("a.ts", pattern="A.m")
    assert (method["start_line"], method["end_line"]) == (2, 3)


def test_a_decorator_with_long_arguments_is_told_by_its_name(tree: Path) -> None:
    (tree / "a.ts").write_text(f'@part.of("{"x" * 5_000}") class A {{}}\n')
    assert code.find_classes("a.ts")[0]["decorators"] == ["part.of"]


def test_a_file_with_an_error_is_read_as_far_as_it_goes_and_listed(tree: Path) -> None:
    (tree / "a.c").write_text("int f(void) { return 1; }\nEXPORT(x) y z {\nint g(void) { return 2; }\n")
    page = code.find_functions(".", file_pattern="*.c")
    assert page["functions"][0]["name"] == "f"
    assert [each["file"] for each in page["errors"]] == ["a.c"]
    with pytest.raises(
        ToolError, match=r"line \d: syntax error.* page of its folder: path='\.', file_pattern='\./a\.c'"
    ):
        code.find_functions("a.c")
    assert code.find_functions(".", file_pattern="./a.c")["functions"] == page["functions"]


@pytest.mark.parametrize(
    ("file", "text", "definitions"),
    [
        ("a.js", "function a(){" * 20_000 + "}" * 20_000, 20_000),
        ("b.js", "x=class{m(){" * 10_000 + "}}" * 10_000, 10_000),
        ("c.js", "class A extends (class B extends " * 5_000 + "Q {}) {}" * 5_000, 0),
        ("f.js", "class A{m(){}}" * 20_000, 20_000),
        ("d.rs", "#[a]" * 50_000 + "fn f(){}", 1),
        ("e.c", "int " + "*" * 50_000 + "f(){}", 1),
    ],
)
def test_deep_nesting_neither_ends_the_reader_nor_holds_it_up(
    tree: Path, file: str, text: str, definitions: int
) -> None:
    (tree / file).write_text(text)
    page = code.find_functions(".", file_pattern="*.*", limit=1)
    assert page["total"] == definitions
