"""Methods, attributes and parameters: renamed where the code tells what is meant, listed where it doesn't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlm.core.exceptions import ToolError
from rlm.helpers import transform


def renamed(tree: Path, place: str, before: str) -> tuple[str, list[str]]:
    """What a file becomes, and what is to be checked by hand."""
    (tree / "a.py").write_text(before)
    result: dict[str, Any] = transform.rename_identifier(".", f"a.py::{place}", "new")
    return (tree / "a.py").read_text(), result.get("check_by_hand", [])


def test_the_self_of_another_class_is_another_object(tree: Path) -> None:
    before = "class A:\n    old = 1\n    def f(self):\n        class B:\n            old = 2\n"
    before += "            def g(self): return self.old\n        return [self.old for x in B]\n"
    after, by_hand = renamed(tree, "A.old", before)
    assert after == before.replace("old = 1", "new = 1").replace("[self.old", "[self.new")
    assert by_hand == ["a.py:6"]


def test_a_self_that_becomes_another_object_is_listed(tree: Path) -> None:
    before = "class A:\n    old = 1\n    def f(self):\n        self = B()\n        return self.old\n"
    assert renamed(tree, "A.old", before) == (before.replace("old = 1", "new = 1"), ["a.py:5"])


def test_a_class_is_known_by_its_name_in_other_modules(tree: Path) -> None:
    (tree / "b.py").write_text("import a\nfrom a import A\nA.old, a.A.old, x.A.old\n")
    assert renamed(tree, "A.old", "class A:\n    old = 1\n")[1] == ["b.py:3"]
    assert (tree / "b.py").read_text() == "import a\nfrom a import A\nA.new, a.A.new, x.A.old\n"


def test_an_attribute_that_only_self_has_is_renamed(tree: Path) -> None:
    before = "class A:\n    def __init__(self): self.old = 1\n    def f(self): return f'{self.old} {old}'\n"
    assert renamed(tree, "A.old", before)[0] == before.replace("self.old", "self.new")


def test_overrides_in_classes_that_may_be_derived_are_listed(tree: Path) -> None:
    (tree / "b.py").write_text("class B(A):\n    def old(self): ...\nclass C:\n    def old(self): ...\n")
    assert renamed(tree, "A.old", "class A:\n    def old(self): ...\n")[1] == ["b.py:2"]


def test_a_field_is_renamed_with_the_keywords_of_its_class(tree: Path) -> None:
    before = "class A:\n    old: int\nA(old=1)\nreplace(a, old=2)\nmatch a:\n    case A(old=3): ...\nf(old=4)\n"
    after, by_hand = renamed(tree, "A.old", before)
    assert after == before.replace("old: int", "new: int").replace("A(old=1)", "A(new=1)")
    assert by_hand == ["a.py:4", "a.py:6"]


def test_a_parameter_of_a_constructor_is_given_by_the_name_of_its_class(tree: Path) -> None:
    (tree / "b.py").write_text("from a import A\nA(old=2)\nclass B(A):\n    def f(self): super().__init__(old=1)\n")
    after, by_hand = renamed(tree, "A.__init__.old", "class A:\n    def __init__(self, old): ...\nA(old=1)\n")
    assert after == "class A:\n    def __init__(self, new): ...\nA(new=1)\n"
    assert (tree / "b.py").read_text().startswith("from a import A\nA(new=2)\n")
    assert by_hand == ["b.py:4"]


def test_a_method_of_the_same_name_in_another_class_keeps_its_parameter(tree: Path) -> None:
    before = "class A:\n    def f(self, old): self.f(old=1)\nclass B(A):\n    def f(self, old): self.f(old=1)\n"
    after, by_hand = renamed(tree, "A.f.old", before)
    assert after == before.replace("old", "new", 2)
    assert by_hand == ["a.py:4"]


def test_all_definitions_of_a_function_are_one(tree: Path) -> None:
    before = "@overload\ndef f(old: int): ...\n@overload\ndef f(old: str): ...\ndef f(old): return old\nf(old=1)\n"
    assert renamed(tree, "f.old", before)[0] == before.replace("old", "new")


def test_what_a_class_body_binds_later_is_no_name_of_the_function_around_it(tree: Path) -> None:
    before = "def f(old):\n    class A:\n        old = old\n    return old\n"
    assert renamed(tree, "f.old", before)[0] == before.replace("f(old)", "f(new)").replace("return old", "return new")


def test_a_function_in_a_function_is_known_there(tree: Path) -> None:
    before = "def f():\n    def g(old): ...\n    g(old=1)\ng(old=2)\npartial(g, old=3)\n"
    after, by_hand = renamed(tree, "f.g.old", before)
    assert after == before.replace("old", "new", 2)
    assert by_hand == ["a.py:4", "a.py:5"]


@pytest.mark.parametrize(
    ("place", "before"),
    [
        ("A.old", "class A:\n    def f(self): self.new = 1\n    def old(self): ...\n"),
        ("f.old", "def f(old, **more): ...\nf(1, new=2)\n"),
        ("f.old", "def f(old, new): ...\n"),
    ],
)
def test_a_new_name_that_the_object_has_already_is_refused(tree: Path, place: str, before: str) -> None:
    with pytest.raises(ToolError, match="nothing was changed"):
        renamed(tree, place, before)
    assert (tree / "a.py").read_text() == before


def test_a_function_is_known_by_what_packages_make_of_it(tree: Path) -> None:
    (tree / "p").mkdir()
    (tree / "p/__init__.py").write_text("from a import f\n")
    (tree / "b.py").write_text("import p\nfrom p import f as g\np.f(old=1)\ng(old=2)\n")
    (tree / "c.py").write_text("try:\n    from a import f\nexcept ImportError:\n    def f(old): ...\nf(old=3)\n")
    assert renamed(tree, "f.old", "def f(old): ...\n")[1] == ["c.py:5"]
    assert (tree / "b.py").read_text() == "import p\nfrom p import f as g\np.f(new=1)\ng(new=2)\n"


def test_calls_that_may_give_any_keyword_are_listed(tree: Path) -> None:
    (tree / "b.py").write_text("from a import f\ndef g(**more): f(1, **more)\n")
    assert renamed(tree, "f.old", "def f(old, **more): ...\nh(**old)\n")[1] == ["b.py:2"]


def test_parameters_that_stand_for_a_fixture_are_listed(tree: Path) -> None:
    (tree / "test_b.py").write_text("def test_b(old): ...\n")
    assert renamed(tree, "old", "@pytest.fixture(scope='x')\ndef old(): ...\n")[1] == ["test_b.py:1"]
    assert renamed(tree, "old", "def old(): ...\n")[1] == []


BOXES = """
class Box:
    def old(self) -> int: return self.old()
    def same(self) -> 'Box': return self
class Small(Box):
    def old(self): return super().old()
class Tiny(Small):
    def go(self): return self.old(), Tiny.old
def make() -> Box: return Box()
def use(a: Box, b: 'Small | None', c: Optional[Box], d, *e: Box):
    f = Box()
    g: Box = d
    h = i = make()
    (j := Tiny()).old()
    Box().old(), Small().old(), make().old()
    a.old(), b.old(), c.old(), f.old(), g.old(), h.old(), i.old(), j.old()
class Shelf:
    first: Box
    def __init__(self, one: Box):
        self.one = one
        self.two = None
    def put(self): self.two = Tiny()
    def count(self): return self.first.old() + self.one.old() + self.two.old()
"""
UNKNOWN = """
def unknown(d, *e: Box):
    d.old(), e.old(), other().old(), [Box()].old()
    k = Box()
    k = d
    k.old()
    for m in Box(): m.old()
class Both(Box, Else):
    def go(self): self.old()
class Shelf:
    def __init__(self): self.x = Box()
    def put(self, d): self.x = d
    def count(self): self.x.old()
"""


def test_a_method_is_reached_through_objects_of_its_class_and_of_those_derived_from_it(tree: Path) -> None:
    after, by_hand = renamed(tree, "Box.old", BOXES)
    assert after == BOXES.replace("old", "new")
    assert by_hand == []


def test_objects_whose_class_the_code_does_not_say_are_listed(tree: Path) -> None:
    after, by_hand = renamed(tree, "Box.old", BOXES + UNKNOWN)
    assert after == BOXES.replace("old", "new") + UNKNOWN
    lines = [number for number, line in enumerate((BOXES + UNKNOWN).splitlines(), 1) if number > 24 and ".old" in line]
    assert by_hand == [f"a.py:{number}" for number in lines]


def test_a_class_is_derived_from_one_in_another_module(tree: Path) -> None:
    (tree / "b.py").write_text(
        "import a\nfrom a import Box as B\nclass C(B): ...\nclass D(C):\n    def old(self): ...\n"
        "a.Box().old(), D().old()\ndef f(x: a.Box, y: D): x.old(), y.old()\n"
    )
    before = (tree / "b.py").read_text()
    assert renamed(tree, "Box.old", "class Box:\n    def old(self): ...\n")[1] == []
    assert (tree / "b.py").read_text() == before.replace("old", "new")


def test_a_new_name_that_a_derived_class_has_is_refused(tree: Path) -> None:
    before = "class A:\n    def old(self): ...\nclass B(A):\n    def new(self): ...\n"
    with pytest.raises(ToolError, match="a class has an attribute 'new' already"):
        renamed(tree, "A.old", before)


@pytest.mark.parametrize(("old", "new"), [("__len__", "size"), ("size", "__len__")])
def test_special_methods_keep_their_names(tree: Path, old: str, new: str) -> None:
    (tree / "a.py").write_text("class A:\n    def __len__(self): ...\n    def size(self): ...\n")
    with pytest.raises(ToolError, match="__len__ is a special name"):
        transform.rename_identifier(".", f"a.py::A.{old}", new)


def test_what_is_listed_can_be_renamed_by_the_list_or_parts_of_it(tree: Path) -> None:
    before = (
        "class A:\n    def old(self): ...\ndef f(x, y):\n    x.old()\n    return y.old, getattr(x, 'old'), 'older'\n"
    )
    after, by_hand = renamed(tree, "A.old", before)
    assert by_hand == ["a.py:4", "a.py:5"]
    assert transform.rename_lines(by_hand[:1], "old", "new", dry_run=True)["total_replacements"] == 1
    assert transform.rename_lines(by_hand, "a.py::A.old", "new")["files"] == [{"file": "a.py", "replacements": 3}]
    assert (tree / "a.py").read_text() == before.replace("old", "new").replace("newer", "older")
    assert after != before


@pytest.mark.parametrize(
    ("places", "new", "told"),
    [
        (["a.py:1"], "new", "'a.py:1' has no such name"),
        (["a.py:9"], "new", "'a.py:9' has no such name"),
        (["a.py"], "new", "'a.py' is not a line of a file"),
        ([], "new", "name the lines"),
        (["a.py:2"], "class", "can't name a variable"),
        (["b.py:1"], "new", "syntax error"),
    ],
)
def test_lines_that_can_not_be_changed_are_refused(tree: Path, places: list[str], new: str, told: str) -> None:
    (tree / "a.py").write_text("x = 1\nold = 2\n")
    (tree / "b.py").write_text("old = (\n")
    with pytest.raises(ToolError, match=told):
        transform.rename_lines(places, "old", new)


CHAINS = """\
from lib import Page, Site, open_site


def first(site: Site) -> None:
    site.front.render()
    for page in site.pages():
        page.render()
    with open_site() as other:
        other.front.render()
    named = {"a": Page()}
    named["a"].render()


def second(site, page: "Unknown") -> None:
    site.front.render()
    page.render()
    Canvas().render()


class Canvas:
    def render(self): ...
"""
LIBRARY = """\
from typing import Iterator


class Page:
    def render(self) -> str: ...


class Site:
    def __init__(self) -> None:
        self.front = Page()

    def pages(self) -> Iterator[Page]: ...

    def __enter__(self) -> "Site": ...


def open_site() -> Site: ...
"""


def test_what_values_inferred_by_jedi_are_is_renamed_and_said(tree: Path) -> None:
    (tree / "lib.py").write_text(LIBRARY)
    (tree / "use.py").write_text(CHAINS)
    result = transform.rename_identifier(".", "lib.py::Page.render", "draw")
    after = CHAINS.splitlines()
    for line in (5, 7, 9, 11):
        after[line - 1] = after[line - 1].replace(".render", ".draw")
    assert (tree / "use.py").read_text().splitlines() == after
    assert result["inferred"] == ["use.py:5", "use.py:7", "use.py:9", "use.py:11"]
    assert result["check_by_hand"] == ["use.py:15", "use.py:16", "use.py:17"]


def test_a_value_that_may_be_of_another_class_is_listed(tree: Path) -> None:
    before = "class A:\n    def old(self): ...\nclass B:\n    def old(self): ...\n"
    before += "x = [A(), B()]\nx[0].old()\nfor y in x:\n    y.old()\n"
    assert renamed(tree, "A.old", before)[1] == ["a.py:8"]


def test_inference_runs_nothing_of_the_workspace(tree: Path) -> None:
    (tree / "lib.py").write_text("open('ran', 'w').close()\n" + LIBRARY)
    (tree / "use.py").write_text(CHAINS)
    assert len(transform.rename_identifier(".", "lib.py::Page.render", "draw")["inferred"]) == 4
    assert not (tree / "ran").exists()
