"""A program that speaks as `claude -p` does and misbehaves by the name of its model: for faults that the real one can't
be made to have. `program` puts it into a folder."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

RESULT = {"type": "result", "subtype": "success", "is_error": False, "stop_reason": "end_turn", "total_cost_usd": 0.25}
USAGE = {"input_tokens": 4, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 7}


def program(folder: Path, name: str = "claude") -> Path:
    """Make it a program in `folder`."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport runpy\nrunpy.run_path({__file__!r}, run_name='__main__')\n")
    path.chmod(0o755)
    return path


def say(**event: object) -> None:
    print(json.dumps(event), flush=True)


def fail(said: str, **more: object) -> None:
    say(**{**RESULT, "is_error": True, "result": said, "session_id": "s", **more})


def part(**event: object) -> None:
    say(type="stream_event", event=event)


def answer(model: str, said: str, session: int) -> None:
    """One call, as that model does it."""
    result = {**RESULT, "usage": USAGE, "session_id": str(session)}
    match model:
        case "hang":
            time.sleep(3600)
        case "garbage":
            print("Segmentation fault (core dumped)", flush=True)
        case "exit":
            print("it broke", file=sys.stderr)
            sys.exit(3)
        case "flood":
            print("x" * 33_000_000, flush=True)
        case "plan":
            say(type="rate_limit_event", rate_limit_info={"status": "rejected", "resetsAt": time.time() + 7200})
            fail("You've hit your limit · resets 3pm", api_error_status=429)
        case "cut":
            part(type="message_start", message={"usage": USAGE})
            part(type="content_block_delta", delta={"type": "text_delta", "text": "and th"})
            part(type="message_delta", delta={"stop_reason": "max_tokens"}, usage={"output_tokens": 9})
            time.sleep(3600)
        case "environment":
            say(**result, result=json.dumps(dict(os.environ)))
        case "child":
            child = os.spawnvp(os.P_NOWAIT, "sleep", ["sleep", "3600"])
            say(**result, result=json.dumps([os.getpid(), child]))
        case _:
            say(**result, result=f"{os.getpid()} {session} {said}")


def main() -> None:
    model = sys.argv[sys.argv.index("--model") + 1]
    session = 1
    for line in sys.stdin:
        content = json.loads(line)["message"]["content"]
        if content == "/clear":
            session += model != "forgetless"
            say(**RESULT, result="", session_id=str(session))
        else:
            answer(model, content[-1]["text"], session)


if __name__ == "__main__":
    main()
