"""Skills end to end: what does not work is not saved; what is saved runs in sandboxes alone, and runs can use it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from rlm import RLM, Config, list_skills, load_skill, save_skill
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.config import LocalConfig
from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.types import ToolCall
from rlm.sinks.memory import MemorySink
from tests.support.environments import COLD, in_each

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CODE = r"""
def transform(code):
    import re
    code = re.sub(r'^\s*print\(.*\)\n?', '', code, flags=re.MULTILINE)
    return code
"""
TEST = "assert remove_debug_logs('print(1)\\nx') == 'x'"
SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Config]:
    def make(**given: Any) -> Config:
        base = {"store_path": str(tmp_path / "store.sqlite"), "log_dir": str(tmp_path / "logs"), "environment": "local"}
        return Config(**{**base, **COLD, **given})

    return make


def saved(config: Config, code: str = CODE, name: str = "remove_debug_logs", **parts: Any) -> Any:
    return save_skill(name=name, code=code, description="Remove debug print statements", config=config, **parts)


def complete(config: Config, *calls: Any) -> tuple[Any, MemorySink]:
    sink = MemorySink()
    with RLM(ScriptedBackend(calls), config=config, sinks=[sink]) as rlm:
        return rlm.completion("go"), sink


def cell(code: str) -> Any:
    return tool_call("execute_code", code=code)


@in_each
def test_a_skill_is_tested_saved_and_used_by_guest_code(settings: Any, environment: str) -> None:
    config = settings(environment=environment, skills=("remove_debug_logs",))
    skill = saved(config, test=TEST)
    assert (skill.version, skill.requires, skill.tested_in) == (1, ["re"], environment)
    code = "s = load_skill('remove_debug_logs')\nFINAL([skills.remove_debug_logs('print(1)\\ny'), s.transform('z')])"
    result, sink = complete(config, cell(code))
    assert result.value == ["y", "z"]
    calls = [event.body for event in sink.events if event.type == "tool.start"]
    assert [(call.name, call.arguments, call.caller) for call in calls] == [
        ("load_skill", {"name": "remove_debug_logs"}, "guest")
    ]


def test_the_model_is_offered_skills_by_name_and_description(settings: Any) -> None:
    saved(settings())
    call = ToolCall(id="1", name="load_skill", arguments='{"name": "remove_debug_logs"}')
    result, sink = complete(settings(skills=("remove_debug_logs@1",)), call, cell("FINAL(1)"))
    assert result.success
    system = next(event.body.content for event in sink.events if event.type == "message")
    assert "`remove_debug_logs`: Remove debug print statements" in system
    assert any("def transform" in event.body.content for event in sink.events if event.type == "message")


def test_code_gets_the_skills_that_were_offered_and_no_others(settings: Any) -> None:
    saved(settings())
    saved(settings(), name="other")
    ask = "try:\n    skills.other\nexcept Exception as e:\n    FINAL(str(e))"
    result, _ = complete(settings(skills=("remove_debug_logs",)), cell(ask))
    assert "there is no skill 'other' here" in result.value
    result, _ = complete(settings(), cell("FINAL('skills' in dir() or 'load_skill' in dir())"))
    assert result.value is False


def test_a_skill_has_a_namespace_of_its_own(settings: Any) -> None:
    saved(settings(), "count = 0\ndef up():\n    global count\n    count += 1\n    return count", name="counter")
    code = "count = 'mine'\nskills.counter()\nFINAL([skills.counter(), count])"
    result, _ = complete(settings(skills=("counter",)), cell(code))
    assert result.value == [2, "mine"]


@pytest.mark.parametrize(
    ("code", "test", "why"),
    [
        ("def f(:", "", "SyntaxError"),
        ("1/0", "", "ZeroDivisionError"),
        ("import subprocess\ndef f(): pass", "", "subprocess"),
        ("def f(): return 1", "assert x() == 2", "the test of skill 'x' failed"),
        ("def f():\n    while True: pass", "x()", "longer than 1 s|more than 1 s"),
        ("def f(): return FINAL(1)", "assert not hasattr(x, 'g')\nx.g()", "has no 'g'"),
        ("limit = 1", "", "has no function or class"),
        ("def f(): pass\ndef g(): pass", "x()", "call one of its own: f, g"),
        ("class Box: pass", "x()", "call one of its own: Box"),
    ],
)
def test_what_does_not_work_is_not_saved(settings: Any, code: str, test: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        saved(settings(cell_timeout_s=1.0), code, name="x", test=test)
    assert list_skills(config=settings()) == []


def test_a_flood_from_a_test_is_bounded_and_says_what_failed(settings: Any) -> None:
    flood = "print('x' * 50_000_000)\nraise ValueError('y' * 1_000_000)"
    with pytest.raises(ConfigError, match="ValueError: yyy") as caught:
        saved(settings(), "def f(): pass", name="x", test=flood)
    assert len(str(caught.value)) < 20_000
    assert any("Traceback" in note for note in caught.value.__notes__)


def test_a_skill_can_use_another_one_that_is_offered(settings: Any) -> None:
    saved(settings(), "def f(): return 1", name="one")
    saved(settings(), "def g(): return skills.one() + load_skill('one')()", name="two")
    result, _ = complete(settings(skills=("one", "two")), cell("FINAL(skills.two())"))
    assert result.value == 2


def test_what_a_skill_removed_is_not_there(settings: Any) -> None:
    saved(settings(), "def f(): return 1\ndef g(): return 2\ndel g", name="x")
    result, _ = complete(settings(skills=("x",)), cell("FINAL(dir(skills.x))"))
    assert result.value == ["f", "requires"]


@pytest.mark.parametrize("name", ["print", "llm_query", "fs", "FINAL", "../x", "a\0b", "х"])
def test_names_that_hide_something_or_look_alike_are_refused(settings: Any, name: str) -> None:
    with pytest.raises(ConfigError, match="can't name a skill"):
        saved(settings(), "def f(): pass", name=name)
    assert list_skills(config=settings()) == []


def test_hostile_code_is_held_by_the_sandbox(settings: Any, tmp_path: Path) -> None:
    escape = f"def f():\n    open({str(tmp_path / 'escaped')!r}, 'w').write('x')"
    free = settings(local=LocalConfig(policy="off"))
    with pytest.raises(ConfigError, match="PermissionError"):
        saved(free, escape, name="x", test="x()")
    saved(free, escape, name="x")
    with pytest.raises(ToolError, match="PermissionError"):
        load_skill("x", config=free)()
    assert not (tmp_path / "escaped").exists()


def test_each_save_is_a_version_and_both_can_be_had(settings: Any) -> None:
    for number in (1, 2):
        saved(settings(), f"def f(): return {number}", name="x")
    assert load_skill("x", config=settings())() == 2
    assert load_skill("x@1", config=settings())() == 1
    assert load_skill("x", 1, config=settings())() == 1
    with pytest.raises(ConfigError, match="no version 3"):
        load_skill("x", 3, config=settings())
    for name, version in (("x", 0), ("x@0", None), ("x", -1)):
        with pytest.raises(ConfigError, match="from 1 up"):
            load_skill(name, version, config=settings())
    with pytest.raises(ConfigError, match="name one of them"):
        load_skill("x@1", 2, config=settings())


def test_calling_gives_values_and_says_what_failed(settings: Any) -> None:
    saved(settings(), "def f(*args, **named): return [list(args), named]", name="x")
    skill = load_skill("x", config=settings())
    assert skill(1, b"b", key=[2]) == [[1, b"b"], {"key": [2]}]
    with pytest.raises(ConfigError, match="can't be given"):
        skill(object())
    saved(settings(), "def f(): raise ValueError('why')\ndef g(): pass", name="two")
    with pytest.raises(ToolError, match="can't be called by itself: call one of its own: "):
        load_skill("two", config=settings())()


def test_a_loaded_skill_says_what_it_is(settings: Any) -> None:
    saved(settings())
    assert repr(load_skill("remove_debug_logs", config=settings())) == "<skill remove_debug_logs@1>"


def test_secrets_are_masked_before_it_runs_and_is_saved(settings: Any, tmp_path: Path) -> None:
    skill = saved(settings(), f"def f(): return '{SECRET}'", name="x", test="assert 'REDACTED' in x()")
    assert SECRET not in skill.code
    assert all(SECRET.encode() not in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


def test_a_skill_can_be_saved_where_an_event_loop_runs(settings: Any) -> None:
    async def inside() -> int:
        return int(saved(settings(), "def f(): pass", name="x").version)

    assert asyncio.run(inside()) == 1


def test_unknown_and_doubled_skills_are_usage_errors(settings: Any) -> None:
    saved(settings(), "def f(): pass", name="x")
    for skills, why in ((("nope",), "no skill 'nope'"), (("x", "x@1"), "twice"), (("../x",), "can't name")):
        with pytest.raises(ConfigError, match=why):
            complete(settings(skills=skills))
