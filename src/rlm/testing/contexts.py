"""The variable `context`, of every kind and size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rlm.runtime.inputs import prepare
from rlm.testing.openers import Opener, shown

if TYPE_CHECKING:
    from pathlib import Path


class Contexts:
    """What holds under any policy for cells."""

    pytestmark = pytest.mark.asyncio(loop_scope="class")

    @pytest.mark.parametrize(
        "value",
        ["żółć 🦉 \ud800", [1, "a", None, True, 2**70, float("inf")], {1: b"x", "a": {"b": [1.5]}}, 5],
        ids=["text", "list", "dict", "number"],
    )
    async def test_a_context_is_what_was_given(self, opener: Opener, value: Any) -> None:
        repl = await opener(value)
        result = await repl.execute("FINAL(context)")
        assert result.final is not None
        assert result.final.value == value

    async def test_no_context_is_none(self, opener: Opener) -> None:
        assert shown(await (await opener()).execute("context is None")) == "True"

    async def test_files_are_a_dict_of_texts(self, opener: Opener, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("first")
        (tmp_path / "empty.txt").write_text("")
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "b.txt").write_text("zweite ü")
        repl = await opener(tmp_path)
        code = "sorted((k, v) for k, v in context.items())"
        assert shown(await repl.execute(code)) == "[('a.txt', 'first'), ('empty.txt', ''), ('sub/b.txt', 'zweite ü')]"

    async def test_many_files(self, opener: Opener, tmp_path: Path) -> None:
        for number in range(3_000):
            (tmp_path / f"a rather long name of a file, number {number}.txt").write_text(str(number))
        repl = await opener(tmp_path)
        assert shown(await repl.execute("len(context), sum(int(t) for t in context.values())")) == "(3000, 4498500)"

    async def test_a_file_is_a_text(self, opener: Opener, tmp_path: Path) -> None:
        path = tmp_path / "log.txt"
        path.write_text("line ü\n" * 1_000_000)
        repl = await opener(path)
        assert (
            shown(await repl.execute("len(context), context.count('ü'), context[-3:]")) == "(7000000, 1000000, ' ü\\n')"
        )

    async def test_repls_of_one_context_share_it_and_survive_each_other(self, opener: Opener) -> None:
        context = prepare("shared " * 1_000)
        first, second = await opener(context), await opener(context)
        assert shown(await first.execute("len(context)")) == "7000"
        await first.aclose()
        assert shown(await second.execute("len(context)")) == "7000"
        third = await opener(context)
        assert shown(await third.execute("context[:6]")) == "'shared'"

    async def test_a_cell_can_spoil_its_own_context_only(self, opener: Opener) -> None:
        context = prepare({"a": [1]})
        first, second = await opener(context), await opener(context)
        await first.execute("context['a'].append(2)\ncontext = 'gone'")
        assert shown(await first.execute("context")) == "{'a': [1, 2]}"
        assert shown(await second.execute("context")) == "{'a': [1]}"

    async def test_show_vars_names_the_context(self, opener: Opener) -> None:
        repl = await opener("a text")
        assert "context  str  6 chars" in shown(await repl.execute("SHOW_VARS()"))


class ContextsWithoutPolicy:
    """What holds where cells may use all of Python."""

    pytestmark = pytest.mark.asyncio(loop_scope="class")

    async def test_a_context_comes_back_after_a_reset(self, opener: Opener) -> None:
        repl = await opener("still here")
        assert (await repl.execute("import os\nos._exit(1)")).status == "killed"
        assert shown(await repl.execute("context")) == "'still here'"

    async def test_a_context_is_not_counted_as_memory_of_the_repl(self, small: Opener) -> None:
        repl = await small("0123456789" * 15_000_000)
        assert shown(await repl.execute("len(context), len(context[:50_000_000])")) == "(150000000, 50000000)"
