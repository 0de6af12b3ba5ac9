"""What is asserted of the project's own sandboxes alone: their guests write frames to descriptor 4."""

from __future__ import annotations

from rlm.testing.openers import Opener


class UnreadAnswers:
    async def test_answers_that_are_not_read_do_not_pile_up_in_the_host(self, impatient: Opener) -> None:
        answered = 0

        async def large() -> str:
            nonlocal answered
            answered += 1
            return "x" * 100_000

        repl = await impatient(large=large)
        code = "import json, os, struct\nfor number in range(1, 100_000):\n"
        code += "    call = dict(t='call', id=number, name='large', args=[], kwargs={})\n"
        code += "    text = json.dumps(call).ljust(4_000).encode()\n"
        code += "    os.write(4, struct.pack('>IB', len(text), 0) + text)"
        status = (await repl.execute(code)).status
        assert status in ("timeout", "killed"), status  # on a busy machine it may not obey in time
        assert answered < 256, answered
