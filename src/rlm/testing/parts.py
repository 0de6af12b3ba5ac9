"""Work on parts in cells: a text in chunks, and one question about each part, in one call of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rlm.testing.openers import Opener, shown

if TYPE_CHECKING:
    from rlm.core.interfaces import Repl


class Asked:
    """The functions of a host whose model answers with the last line of a prompt, in capitals."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def llm_query(self, prompt: str, **options: Any) -> Any:
        self.calls.append((prompt, options))
        return prompt.splitlines()[-1].upper()

    async def llm_query_batched(self, prompts: list[str], **options: Any) -> Any:
        self.calls.append((prompts, options))
        lines = [prompt.splitlines()[-1] for prompt in prompts]
        return [ValueError("no") if line == "bad" else line.upper() for line in lines]

    async def open(self, opener: Opener, context: Any = None) -> Repl:
        """A REPL that has them."""
        return await opener(context, llm_query=self.llm_query, llm_query_batched=self.llm_query_batched)


class WorkOnParts:
    """What holds wherever a cell may import asyncio."""

    pytestmark = pytest.mark.asyncio(loop_scope="class")

    async def test_a_question_is_asked_of_each_part_in_one_call(self, opener: Opener) -> None:
        asked = Asked()
        repl = await asked.open(opener)
        code = "llm_map('Which?', ['a', {'k': 'é'}, 3, 'bad'], model='m')"
        given = await repl.execute(f"r = {code}\nr[:3], isinstance(r[3], SubcallError)")
        assert shown(given) == "(['A', '{\"K\": \"É\"}', '3'], True)"
        assert asked.calls == [
            (["Which?\n\na", 'Which?\n\n{"k": "é"}', "Which?\n\n3", "Which?\n\nbad"], {"model": "m"})
        ]
        assert shown(await repl.execute("llm_map('Which?', (c for c in 'ab')), llm_map('x', [])")) == "(['A', 'B'], [])"

    async def test_the_answers_are_reduced_by_a_function_or_by_one_more_question(self, opener: Opener) -> None:
        asked = Asked()
        repl = await asked.open(opener, {"a.txt": "first", "b.txt": "bad"})
        assert shown(await repl.execute("llm_map('Which?', ['a', 'b'], ''.join)")) == "'AB'"
        assert shown(await repl.execute("llm_map('Which?', context, reduce='Which of these?')")).startswith(
            "'[2] (NO ANS"
        )
        (prompts, _), (question, _) = asked.calls[1:]
        assert prompts == ["Which?\n\n--- a.txt ---\nfirst", "Which?\n\n--- b.txt ---\nbad"]
        assert question.startswith("Which of these?\n\n[1] FIRST\n\n[2] (no answer: ")
        failed = await repl.execute("llm_map('Which?', ['bad'], reduce='Which of these?')")
        assert failed.error is not None
        assert failed.error.kind == "SubcallError"

    async def test_a_text_comes_in_chunks(self, opener: Opener) -> None:
        repl = await Asked().open(opener, "one\ntwo\nthree\n" * 100)
        assert shown(await repl.execute("chunks('abcdefghij', 4, overlap=1)")) == "['abcd', 'defg', 'ghij']"
        assert (
            shown(await repl.execute("chunks('aaaaa\\nbbb\\nc', 7), chunks('', 7)")) == "(['aaaaa\\n', 'bbb\\nc'], [])"
        )
        code = "c = chunks(context, 50)\n''.join(c) == context, max(map(len, c)) <= 50, {x[-1] for x in c}"
        assert shown(await repl.execute(code)) == "(True, True, {'\\n'})"
        code = "c = chunks(context, 50, 49)\nlen(c), all(a[1:] == b[:49] for a, b in zip(c, c[1:-1]))"
        assert shown(await repl.execute(code)) == "(1351, True)"

    async def test_their_names_may_be_variables(self, opener: Opener) -> None:
        repl = await Asked().open(opener)
        assert shown(await repl.execute("chunks = ['x']\nSHOW_VARS()")) == "chunks  list  1 items"
        assert shown(await repl.execute("llm_map('Which?', chunks)")) == "['X']"
        assert shown(await repl.execute("del chunks\n1")) == "1"
        assert shown(await repl.execute("chunks('ab', 1)")) == "['a', 'b']"

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("llm_map(['a'], 'Which?')", "the question must be a str, not a list"),
            ("llm_map('Which?', 3)", "parts must be a list of texts, not a int"),
            ("chunks(['a'], 3)", "chunks cuts a str, not a list"),
            ("chunks('abc', 3, 3)", "less overlap than that"),
        ],
    )
    async def test_what_they_can_not_work_on_is_said(self, opener: Opener, code: str, message: str) -> None:
        result = await (await Asked().open(opener)).execute(code)
        assert result.error is not None
        assert message in result.error.message

    async def test_a_map_is_awaited_too(self, opener: Opener) -> None:
        repl = await Asked().open(opener)
        assert shown(await repl.execute("await llm_map('Which?', ['a'], reduce='Which of these?')")) == "'[1] A'"
        code = "import asyncio\nawait asyncio.gather(llm_map('Which?', ['a']), llm_map('Which?', ['b'], ''.join))"
        assert shown(await repl.execute(code)) == "[['A'], 'B']"
