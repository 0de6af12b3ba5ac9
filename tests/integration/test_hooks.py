"""Hooks: what they are asked, what they keep from going on, and what is said of that."""

import textwrap

import pytest

from rlm import RLM, Config, tool
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core import events
from rlm.core.config import HooksConfig
from rlm.core.exceptions import ConfigError, HookDenied, UntrustedConfigError
from rlm.hooks.approval import approval_hook
from rlm.hooks.loading import load_hooks
from rlm.hooks.values import HookContext
from rlm.runtime.hooks import hook_rows
from rlm.tasks import Task, TaskList, cc_execute_task_list

FILE = """
from rlm.hooks import HookContext, HookResult, exact
{code}
"""


@pytest.fixture
def hooked(tmp_path):
    """A configuration with a file of hooks."""

    def make(code, **more):
        file = tmp_path / "my_hooks.py"
        file.write_text(FILE.format(code=textwrap.dedent(code)))
        hooks = HooksConfig(files=(str(file),), **more)
        return Config(model="m", environment="local", log_dir=str(tmp_path / "logs"), hooks=hooks)

    return make


def asked(result):
    bodies = [events.decode(line).body for line in result.trajectory.read_bytes().splitlines()]
    return [body for body in bodies if isinstance(body, events.HookEnded)]


@tool
def deploy(where: str) -> str:
    """Deploy.

    Args:
        where: The place.
    """
    return f"deployed to {where}"


def run(config, *replies, tools=()):
    backend = ScriptedBackend([*replies])
    with RLM(backend, config=config, tools=tools) as rlm:
        return rlm.completion("do it"), backend


ALL = """
def yes(context):
    assert isinstance(context, HookContext)
    return HookResult(proceed=True, message=context.code or context.tool or context.status)

async def awaited(context):
    return HookResult(True)

HOOKS = {"pre_execution": yes, "pre_cell": [yes, awaited], "pre_tool": yes, "post_execution": yes, "error": yes}
"""


def test_each_point_is_asked_in_order_and_on_record(hooked):
    replies = [tool_call("execute_code", code="x = 1"), tool_call("deploy", where="here"), "done"]
    result, _ = run(hooked(ALL), *replies, tools=[deploy])
    assert result.success
    assert [(body.point, body.message) for body in asked(result)] == [
        ("pre_run", ""),
        ("pre_cell", "x = 1"),
        ("pre_cell", ""),
        ("pre_tool", "deploy"),
        ("post_run", "completed"),
    ]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return HookResult(proceed=False, message='not today')", "not today"),
        ("raise ValueError('broken')", "it failed: ValueError: broken"),
        ("raise SystemExit(3)", "it failed: SystemExit: 3"),
        ("import threading; threading.Event().wait()", "it took longer than 0.2 s"),
        ("return True", "it returned True, not a HookResult"),
        ("return HookResult(proceed='yes')", "not a HookResult"),
        ("return None", "it returned None, not a HookResult"),
    ],
)
def test_whatever_is_no_clear_yes_keeps_the_run_from_beginning(body, why, hooked):
    config = hooked(f"def hook(context):\n    {body}\nHOOKS = {{'pre_run': hook}}", timeout_s=0.2)
    result, backend = run(config, "never")
    assert (result.status, backend.requests) == ("failed", [])
    assert isinstance(result.error, HookDenied)
    assert why in str(result.error)
    (said,) = asked(result)
    assert (said.proceed, why in said.message) == (False, True)


def test_a_denied_cell_and_a_denied_tool_are_told_to_the_model(hooked):
    config = hooked(
        """
        def no(context):
            return HookResult(proceed="rm" not in context.code and context.tool != "deploy", message="policy")

        HOOKS = {"pre_cell": no, "pre_tool": no}
        """
    )
    replies = [tool_call("execute_code", code="rm = 1"), tool_call("deploy", where="here"), "done"]
    result, backend = run(config, *replies, tools=[deploy])
    shown = "\n".join(message.content for message in backend.requests[-1].messages)
    assert result.success
    assert "HookDenied: the hook my_hooks.py:no denied pre_cell: policy" in shown
    assert "the hook my_hooks.py:no denied pre_tool: policy" in shown
    assert "deployed" not in shown


def test_a_denied_answer_is_no_success_on_record_either(hooked):
    config = hooked("HOOKS = {'post_run': lambda context: HookResult(False, 'unreviewed')}")
    result, _ = run(config, "an answer")
    assert (result.status, result.response) == ("failed", "an answer")
    ends = [events.decode(line).body for line in result.trajectory.read_bytes().splitlines()]
    assert next(end for end in ends if isinstance(end, events.CompletionEnd)).status == "failed"


def test_hooks_see_no_secrets_unless_they_are_declared_exact(hooked):
    config = hooked(
        """
        seen = []

        def masked(context):
            return HookResult(True, context.code)

        @exact
        def whole(context):
            return HookResult("ghp_" in context.code, "")

        HOOKS = {"pre_cell": [masked, whole]}
        """
    )
    key = "ghp_" + "a1B2" * 9
    result, _ = run(config, tool_call("execute_code", code=f"key = '{key}'"), "done")
    first, second = asked(result)
    assert (key in first.message, first.proceed, second.proceed) == (False, True, True)


def test_tasks_are_asked_about_before_and_after(hooked, tmp_path):
    config = hooked(
        """
        def before(context):
            return HookResult(context.task != "b", "not b")

        def after(context):
            return HookResult(context.task != "c", "not c")

        HOOKS = {"pre_task": before, "post_task": after}
        """
    )
    tasks = TaskList(tasks=[Task(name, "Say 1") for name in "abc"])
    result = cc_execute_task_list(tasks, config=config, model=ScriptedBackend(lambda _request: "1"))
    assert [each.state for each in result] == ["completed", "failed", "failed"]
    assert "denied pre_task: not b" in result["b"].error
    assert "denied post_task: not c" in result["c"].error


async def test_approval_asks_for_tools_by_pattern_and_nothing_else():
    questions = []

    async def approver(_run_id, question):
        questions.append(question)
        return "allowed.txt" in question

    approve = approval_hook(["git_push", "fs.write*"], approver)

    async def said(name, **arguments):
        return (await approve(HookContext(point="pre_tool", run_id="f" * 32, tool=name, arguments=arguments))).proceed

    assert [await said("fs.read_file"), await said("git.push"), await said("fs.write_file", path="allowed.txt")] == [
        True,
        False,
        True,
    ]
    assert len(questions) == 2
    assert "fs.write_file(path='allowed.txt')" in questions[1]


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        (HooksConfig(use=("metrix",)), "did you mean metrics?"),
        (HooksConfig(use=("json",)), "it has no dict HOOKS"),
        (HooksConfig(files=("absent.py",)), "absent.py is not a Python file"),
    ],
)
def test_hooks_that_cant_be_had_are_told_before_anything_runs(hooks, said):
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        load_hooks(hooks)


def test_a_point_with_another_name_is_refused(hooked):
    config = hooked("HOOKS = {'pre_cel': print}")
    with pytest.raises(ConfigError, match="did you mean pre_cell"):
        run(config, "never")


def test_those_that_ship_do_what_they_say(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    work = tmp_path / "work"
    work.mkdir()
    (work / "pyproject.toml").write_text("")
    hooks = HooksConfig(use=("environment", "metrics", "review"))
    config = Config(
        model="m", environment="local", log_dir=str(tmp_path / "logs"), hooks=hooks, allowed_paths=(str(work),)
    )
    key = "ghp_" + "a1B2" * 9
    code = f"fs.write_file('{work}/notes.txt', '{key[:10]}' + '{key[10:]}')"
    result, _ = run(config, tool_call("execute_code", code=code), "done")
    assert (work / ".venv" / "pyvenv.cfg").exists()
    assert "secrets were written to" in str(result.error)
    (line,) = (tmp_path / "state" / "rlm" / "metrics.jsonl").read_text().splitlines()
    assert f'"run": "{result.run_id}"' in line
    assert {row["point"] for row in hook_rows(hooks)} == {*("pre_run", "post_run", "on_error", "pre_task", "post_task")}


def test_hooks_in_a_project_file_need_trust(tmp_path, monkeypatch):
    (tmp_path / "rlm.toml").write_text('[hooks]\nuse = ["metrics"]\n')
    with pytest.raises(UntrustedConfigError, match="hooks"):
        Config.load(cwd=tmp_path, environ={"HOME": str(tmp_path / "home")})
