"""What any REPL does with a cell: its state, its output, its errors, its answer."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from rlm.core.exceptions import REPLExecutionError
from rlm.testing.openers import Opener, echo, shown, threaded

if TYPE_CHECKING:
    from rlm.core.interfaces import Repl

PROGRAMS = [
    "def g():\n    yield from range(3)\nlist(g())",
    "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n[P(1).x - 1, 1, 2]",
    "class A:\n    def f(self): return [0, 1]\nclass B(A):\n    def f(self): return super().f() + [2]\nB().f()",
    "async def f():\n    return [0, 1, 2]\nimport asyncio\nasyncio.run(f())",
    "import asyncio\nasync def f(i):\n    await asyncio.sleep(0.01)\n    return i\nasync def g():\n"
    "    return await asyncio.gather(*map(f, range(3)))\nasyncio.run(g())",
]
THREADED = [
    "import asyncio\nasync def f():\n"
    "    return await asyncio.gather(*[asyncio.to_thread(abs, i) for i in range(3)])\nasyncio.run(f())",
    "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor() as pool:\n"
    "    r = list(pool.map(abs, range(3)))\nr",
]


DEFINED = """
import sys, threading
class Loud:
    def __getattribute__(self, name): raise ValueError(name)
    def __repr__(self): raise ValueError("repr")
    def __hash__(self): return hash("no name of anything")
    def __eq__(self, other): raise ValueError("eq")
    def __len__(self): raise ValueError("len")
class Meta(type):
    __name__ = property(lambda cls: 1 / 0)
    def __hash__(cls): raise ValueError("hash")
class Odd(metaclass=Meta): pass
class OddError(Exception, metaclass=Meta):
    __class__ = property(lambda self: 1 / 0)
class Sly(str):
    def startswith(self, *prefix): return False
class Slyer(dict):
    def __iter__(self): return iter(["a"])
    def items(self): return [("$int", 1)]
class Deep:
    def __repr__(self): return repr(self)
"""
HOSTILE = [
    "globals()[5] = 1",
    "globals()[Loud()] = 1",
    "globals()[Sly('kept too')] = 1",
    "loud, odd, meta = Loud(), Odd(), Odd",
    "raise OddError",
    "Loud()",
    "Deep()",
    "FINAL(Deep())",
    "FINAL([Loud(), Odd()])",
    "FINAL({Sly('$int'): 1})",
    "FINAL(Slyer())",
    "FINAL({((((1,),),),): 1, (Odd,): 2})",
    "deep = 1\nfor _ in range(90): deep = (deep,)\nFINAL([[[[[[[[[[[[{deep: 1}]]]]]]]]]]]])",
    "deep = []\nfor _ in range(100_000): deep = [deep]\ndeep",
    "deep = []\nfor _ in range(100_000): deep = [deep]\nFINAL(deep)",
    "def f(): return f()\nf()",
    "FINAL(10 ** 5_000)",
    "10 ** 5_000",
    "FINAL(i for i in [1])",
    "del sys.stdout",
    "sys.stdout = sys.stderr = Loud()",
    "sys.stdout.flush = lambda: 1 / 0",
    "sys.stdout.close()",
    "sys.stdout.detach()",
    "sys.stdin.read()",
    "threading._active.clear()",
    "sys.setrecursionlimit(60)",
    "sys.setprofile(lambda *_: 1 / 0)",
    "sys.modules.clear()",
    "__builtins__ = 5",
    "(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__)).pop('len')",
    "import os\nfor descriptor in (0, 1, 2): os.close(descriptor)",
]
"""What a cell may do that is no use to it, and must be no harm to those after it."""


class Cells:
    """What holds under any policy for cells."""

    pytestmark = pytest.mark.asyncio(loop_scope="class")

    async def test_state_persists_between_cells(self, repl: Repl) -> None:
        await repl.execute("n = 1\ndef twice(x): return 2 * x\nimport math")
        assert shown(await repl.execute("n += 1\ntwice(n), math.floor(2.5)")) == "(4, 2)"

    async def test_repls_do_not_share_state(self, opener: Opener) -> None:
        first, second = await opener(), await opener()
        await first.execute("secret = 1")
        result = await second.execute("secret")
        assert result.error is not None
        assert result.error.kind == "NameError"

    async def test_the_last_expression_is_shown(self, repl: Repl) -> None:
        assert shown(await repl.execute("print('a')\n'b'")) == "a\n'b'"
        assert shown(await repl.execute("1\nNone")) == ""
        assert shown(await repl.execute("x = 1")) == ""
        assert shown(await repl.execute("# nothing at all")) == ""

    async def test_a_shown_value_is_capped(self, repl: Repl) -> None:
        output = shown(await repl.execute("list(range(100_000))"))
        assert output.startswith("[0, 1, 2, ")
        assert output.endswith("[cut at 10,000 characters]")
        assert len(output) < 10_100

    async def test_small_values_are_shown_as_python_shows_them(self, repl: Repl) -> None:
        values = ["[]", "(1,)", "()", "{1}", "{'a': [1, {2: (3,)}]}", "'x'", "b'x'", "1.5", "{}"]
        assert [shown(await repl.execute(value)) for value in values] == values

    async def test_a_list_that_holds_itself_can_be_shown(self, repl: Repl) -> None:
        assert shown(await repl.execute("a = [1]\na.append(a)\na")) == "[1, ...]"

    async def test_an_error_keeps_prints_and_variables(self, repl: Repl) -> None:
        result = await repl.execute("kept = 5\nprint('before')\n1 / 0\nkept = 6")
        assert result.status == "error"
        assert result.output == "before\n"
        assert result.changed == ("kept",)
        assert shown(await repl.execute("kept")) == "5"

    async def test_a_traceback_shows_lines_of_cells_only(self, repl: Repl) -> None:
        await repl.execute("def inner(text):\n    return int(text)")
        result = await repl.execute("import functools\nfunctools.reduce(lambda a, b: inner(b), ['1', 'x'])")
        assert result.error is not None
        assert result.error.kind == "ValueError"
        assert "invalid literal" in result.error.message
        assert "return int(text)" in result.error.traceback
        assert "<cell " in result.error.traceback
        assert ".py" not in result.error.traceback
        assert "[Values there: text = 'x']" in result.error.traceback

    async def test_a_chained_error_tells_both(self, repl: Repl) -> None:
        result = await repl.execute("try:\n    {}['k']\nexcept KeyError as e:\n    raise ValueError('outer') from e")
        assert result.error is not None
        assert result.error.message == "outer"
        assert "KeyError: 'k'" in result.error.traceback

    async def test_a_syntax_error_runs_nothing(self, repl: Repl) -> None:
        result = await repl.execute("ran = True\nif:\n    pass")
        assert result.error is not None
        assert result.error.kind == "SyntaxError"
        assert "line 2" in result.error.traceback
        assert (await repl.execute("ran")).status == "error"

    async def test_odd_code_is_an_error_and_no_more(self, repl: Repl) -> None:
        for code in ("x = '\0'", "(" * 500 + ")" * 500, "raise SystemExit(3)", "exit()"):
            result = await repl.execute(code)
            assert (result.status, result.state_reset) == ("error", False), code
            assert shown(await repl.execute("1 + 1")) == "2"

    async def test_an_exception_that_cannot_be_shown_is_still_an_error(self, repl: Repl) -> None:
        code = "class Odd(Exception):\n    def __str__(self):\n        raise ValueError('no')\nraise Odd()"
        result = await repl.execute(code)
        assert result.error is not None
        assert result.error.kind == "Odd"

    async def test_changed_names_what_the_cell_bound(self, repl: Repl) -> None:
        await repl.execute("a = [1]\nb = 2\nc = 'same'")
        result = await repl.execute("a.append(2)\nb = 3\nd = 4\ndef f(): pass\nimport math\ndel c")
        assert set(result.changed) == {"b", "d", "f", "math"}

    async def test_changed_sees_a_value_that_took_the_place_of_a_freed_one(self, repl: Repl) -> None:
        await repl.execute("n = 1000\nitems = [1]")
        result = await repl.execute("n = n + 1\nn = n + 1\nitems = items + [2]\nitems = items + [3]")
        assert set(result.changed) == {"n", "items"}

    async def test_bound_names_come_back(self, repl: Repl) -> None:
        await repl.execute("FINAL = echo = SHOW_VARS = None")
        result = await repl.execute("FINAL(echo(1))")
        assert result.final is not None
        assert result.final.value == 1
        assert result.changed == ()

    async def test_final_gives_value_and_text(self, repl: Repl) -> None:
        answers = {
            "'yes'": ("yes", "yes"),
            "{'a': [1, None]}": ({"a": [1, None]}, '{"a": [1, null]}'),
            "(1, 2)": ([1, 2], "[1, 2]"),
            "None": (None, "null"),
            "b'x'": (b"x", "b'x'"),
        }
        for answer, expected in answers.items():
            result = await repl.execute(f"print('before')\nFINAL({answer})\nprint('after')")
            assert result.final is not None
            assert (result.status, result.output) == ("ok", "before\n")
            assert (result.final.value, result.final.text) == expected

    async def test_final_of_what_has_no_form_is_capped_text(self, repl: Repl) -> None:
        result = await repl.execute("FINAL(lambda: 0)")
        assert result.final is not None
        assert "<lambda>" in result.final.text
        result = await repl.execute("deep = []\nfor _ in range(200):\n    deep = [deep]\nFINAL(deep)")
        assert result.final is not None
        assert len(result.final.text) < 20_000

    async def test_final_passes_ordinary_handlers_and_the_first_one_counts(self, repl: Repl) -> None:
        code = "try:\n    FINAL(1)\nexcept Exception:\n    FINAL(2)"
        result = await repl.execute(code)
        assert result.final is not None
        assert result.final.value == 1

    async def test_final_under_a_bare_except_counts(self, repl: Repl) -> None:
        result = await repl.execute("try:\n    FINAL(1)\nexcept:\n    pass\nlater = 2\nraise ValueError('x')")
        assert result.final is not None
        assert result.final.value == 1
        assert result.error is not None
        assert result.changed == ("later",)

    @threaded
    async def test_final_in_a_thread_counts_and_prints_nothing(self, opener: Opener) -> None:
        repl = await opener()
        code = "import threading\nt = threading.Thread(target=FINAL, args=('from a thread',))\nt.start()\nt.join()"
        result = await repl.execute(code)
        assert result.final is not None
        assert (result.final.value, result.output) == ("from a thread", "")

    async def test_final_var_takes_a_name(self, repl: Repl) -> None:
        result = await repl.execute("answer = {'a': 1}\nFINAL_VAR('answer')")
        assert result.final is not None
        assert result.final.value == {"a": 1}
        missing = await repl.execute("FINAL_VAR('nothing')")
        assert missing.error is not None
        assert "SHOW_VARS" in missing.error.message

    async def test_a_final_answer_is_for_its_cell_only(self, repl: Repl) -> None:
        await repl.execute("FINAL(1)")
        assert (await repl.execute("2")).final is None

    async def test_show_vars_lists_names_types_and_sizes(self, repl: Repl) -> None:
        await repl.execute("rows = [1, 2, 3]\ntitle = 'abc'\n_hidden = 1\n")
        listing = shown(await repl.execute("SHOW_VARS()"))
        assert "rows  list  3 items" in listing
        assert "title  str  3 chars" in listing
        assert "SHOW_VARS" not in listing

    async def test_unicode_and_surrogates_are_printed(self, repl: Repl) -> None:
        assert shown(await repl.execute("print('żółć 🦉')")) == "żółć 🦉"
        assert shown(await repl.execute(r"print('\ud800')")) == r"\ud800"

    async def test_output_is_passed_on_in_few_pieces(self, opener: Opener) -> None:
        repl = await opener()
        await repl.execute("x = 1")
        assert opener.pieces == []
        await repl.execute("for i in range(100): print(i)")
        assert len(opener.pieces) == 1
        assert opener.pieces[0].startswith("0\n1\n")

    async def test_output_of_a_long_cell_is_passed_on_while_it_runs(self, opener: Opener) -> None:
        repl = await opener(wait_until_seen=opener.passed_on.wait)
        result = await repl.execute("print('early')\nwait_until_seen()")
        assert result.status == "ok"
        assert opener.pieces[0].startswith("early")

    async def test_of_a_flood_the_beginning_and_the_true_end_are_kept(self, opener: Opener) -> None:
        repl = await opener()
        result = await repl.execute("print('BEGIN')\nfor _ in range(300): print('x' * 9_999)\nprint('TOTAL')\n42")
        assert result.output_chars == 3_000_015
        assert (result.output[:7], result.output[-10:]) == ("BEGIN\nx", "\nTOTAL\n42\n")
        assert len(result.output) <= 1_000_000
        assert "".join(opener.pieces) == result.output
        kept, note = re.subn(r"\n\[\.\.\. [\d,]+ characters were not kept \.\.\.\]\n", "", result.output)
        assert note == 1
        assert f"[... {3_000_015 - len(kept):,} characters" in result.output

    async def test_keys_that_would_become_one_are_an_error_of_the_cell(self, repl: Repl) -> None:
        await repl.execute("kept = 1")
        for given in (
            "{float('nan'): i for i in range(100)}",
            "{float('nan'): 1, float('nan'): 2}",
            "{1: 'a', '1': 'b'}",
            "[{'x': {True: 'a', 'true': 'b'}}]",
            "{None: 1, 'null': 2}",
            "{(1, 2): 'a', frozenset({1, 2}): 'b'}",
            "{(2**61 - 1) * i: i for i in range(100)}",
        ):
            for code in (f"FINAL({given})", f"echo({given})"):
                result = await repl.execute(code)
                assert result.error is not None, code
                assert (result.status, result.error.kind) == ("error", "TypeError"), code
        result = await repl.execute("FINAL({1: 'a', '2': 'b', None: kept, 'None': 2, (1,): 3})")
        assert result.final is not None
        assert result.final.value == {1: "a", "2": "b", None: 1, "None": 2, (1,): 3}

    async def test_nobody_answers_input(self, repl: Repl) -> None:
        result = await repl.execute("kept = 1\ninput('name? ')")
        assert (result.status, result.state_reset) == ("error", False)
        assert shown(await repl.execute("FINAL(kept) if False else kept")) == "1"

    @threaded
    async def test_what_a_thread_of_an_earlier_cell_prints_is_told_apart(self, opener: Opener) -> None:
        repl = await opener()
        code = "import threading\ngo, gone, on = threading.Event(), threading.Event(), threading.Event()\n"
        code += "def late():\n    go.wait()\n    print('late in the cell')\n    gone.set()\n    on.wait()\n"
        code += (
            "    print('late in the last one')\nthread = threading.Thread(target=late)\nthread.start()\nprint('first')"
        )
        assert shown(await repl.execute(code)) == "first"
        result = await repl.execute("print('own')\ngo.set()\ngone.wait()\nprint('own too')")
        own, heading, late = result.output.partition("[Threads of earlier cells printed 17 characters meanwhile:]\n")
        assert own.split("\n") == ["own", "own too", "", ""]
        assert (bool(heading), late) == (True, "late in the cell\n")
        last = shown(await repl.execute("on.set()\nthread.join()\n'own'"))
        assert last.startswith("'own'\n")
        assert last.endswith(":]\nlate in the last one")

    async def test_python_as_models_write_it(self, repl: Repl) -> None:
        assert [shown(await repl.execute(code)) for code in PROGRAMS] == ["[0, 1, 2]"] * len(PROGRAMS)

    @threaded
    async def test_threads_as_models_use_them(self, opener: Opener) -> None:
        repl = await opener()
        assert [shown(await repl.execute(code)) for code in THREADED] == ["[0, 1, 2]"] * len(THREADED)

    @threaded
    async def test_a_thread_of_an_earlier_cell_gives_no_answer_for_a_later_one(self, opener: Opener) -> None:
        repl = await opener()
        code = "import threading\ngo = threading.Event()\ndef late():\n    go.wait()\n    FINAL('late')\n"
        code += "thread = threading.Thread(target=late)\nthread.start()"
        assert (await repl.execute(code)).status == "ok"
        result = await repl.execute("go.set()\nthread.join()\nFINAL('own')")
        assert result.final is not None
        assert result.final.value == "own"
        assert "the cell that started this thread has ended" in result.output

    async def test_cells_run_one_at_a_time(self, repl: Repl) -> None:
        results = await asyncio.gather(*(repl.execute(f"order = {i}\norder") for i in range(5)))
        assert [result.output for result in results] == [f"{i}\n" for i in range(5)]

    async def test_a_closed_repl_refuses(self, opener: Opener) -> None:
        repl = await opener()
        await repl.aclose()
        await repl.aclose()
        with pytest.raises(REPLExecutionError):
            await repl.execute("1")

    async def test_cancelling_a_cell_resets_the_state(self, opener: Opener) -> None:
        started = asyncio.Event()

        async def note() -> None:
            started.set()

        repl = await opener(note=note)
        await repl.execute("x = 1")
        running = asyncio.create_task(repl.execute("note()\nwhile True: pass"))
        await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        result = await repl.execute("1 + 1")
        assert (result.output, result.state_reset) == ("2\n", True)

    async def test_code_too_large_for_a_frame_is_refused_and_harms_nothing(self, repl: Repl) -> None:
        await repl.execute("x = 1")
        with pytest.raises(REPLExecutionError, match=r"too large|do not fit"):
            await repl.execute("#" * (65 << 20))
        assert shown(await repl.execute("x")) == "1"


class CellsWithoutPolicy:
    """What holds where cells may use all of Python."""

    pytestmark = pytest.mark.asyncio(loop_scope="class")

    async def test_both_streams_come_in_order(self, opener: Opener) -> None:
        repl = await opener()
        code = "import sys\nfor i in range(3):\n    print(i, end=' ')\n    print('err', file=sys.stderr)"
        assert shown(await repl.execute(code)) == "0 err\n1 err\n2 err"

    async def test_an_error_that_cannot_be_told_in_time_is_cut_short(self, impatient: Opener) -> None:
        repl = await impatient()
        code = "kept = 1\nclass Endless(Exception):\n    def __str__(self):\n        while True: pass\nraise Endless"
        result = await repl.execute(code)
        assert (result.status, result.state_reset) == ("timeout", False)
        assert shown(await repl.execute("kept")) == "1"

    async def test_what_a_cell_breaks_it_breaks_for_itself(self, opener: Opener) -> None:
        repl = await opener(echo=echo)
        await repl.execute("kept = 1")
        harmful = {}
        for code in HOSTILE:
            result = await repl.execute(f"{DEFINED}{code}")
            after = await repl.execute("print('printed', file=sys.stderr)\nkept, len([1]), echo('called')")
            if result.status not in ("ok", "error") or after.output != "printed\n(1, 1, 'called')\n":
                harmful[code] = (result, after)
                await repl.execute("kept = 1")
        assert harmful == {}
        assert "kept  int" in shown(await repl.execute("SHOW_VARS()"))
