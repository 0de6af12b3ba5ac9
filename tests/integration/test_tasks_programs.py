"""Tasks that programs do: commands, and the installed `claude` as an agent."""

import asyncio
import json
import sys
import textwrap

import pytest

from rlm.core.config import ClaudeCliConfig, Config
from rlm.core.exceptions import ConfigError, UntrustedConfigError
from rlm.jobs.tasks import executors, running
from rlm.jobs.tasks.doing import do_list
from rlm.jobs.tasks.planning import plan_list
from rlm.jobs.tasks.reading import check_list, read_task_list
from rlm.jobs.tasks.values import GivenList, ListedTask, TaskList
from rlm.runtime.control import Act
from rlm.runtime.models import BackendPool
from rlm.trajectory.task_lists import past_of
from tests.support.ended import until_ended

AGENT = """\
#!{python}
import json, os, sys
prompt = sys.stdin.read()
print("a warning that is no event", flush=True)
print(json.dumps({{"type": "system", "padding": "x" * 9_000_000}}), flush=True)
open("made.txt", "w").write(prompt)
said = {{"argv": sys.argv[1:], "cwd": os.getcwd(), "keys": [k for k in os.environ if "API_KEY" in k]}}
usage = {{"input_tokens": 4, "output_tokens": 6}}
end = {{"is_error": "fail" in prompt, "result": json.dumps(said), "total_cost_usd": 0.5, "usage": usage}}
print(json.dumps({{"type": "result", **end}}), flush=True)
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    program = tmp_path / "claude"
    program.write_text(AGENT.format(python=sys.executable))
    program.chmod(0o755)
    return Config(model="m", log_dir=str(tmp_path / "logs"), claude_cli=ClaudeCliConfig(command=str(program)))


def python(code):
    return (sys.executable, "-c", textwrap.dedent(code))


async def done(config, folder, *tasks, on_begun=lambda _run: None):
    given = GivenList(tasks=TaskList(tasks=tasks), folder=folder)
    check_list(given)
    return await do_list(plan_list(given, config), BackendPool(), on_begun=on_begun)


async def test_a_command_gets_its_prompt_on_stdin_or_in_argv_and_the_data_as_a_file(config, tmp_path):
    reads = python(
        "import os, json, sys; print(sys.stdin.read().split()[0], json.load(open(os.environ['RLM_TASK_CONTEXT'])))"
    )
    result = await done(
        config,
        tmp_path,
        ListedTask("argv", "hello; rm -rf $HOME", executor=(*python("import sys; print(sys.argv[1])"), "{prompt}")),
        ListedTask("stdin", "read", needs=["argv"], context=[1], executor=reads),
    )
    assert result["argv"].response == "hello; rm -rf $HOME"
    assert result["stdin"].response == "read {'argv': 'hello; rm -rf $HOME', 'given': [1]}"


async def test_an_exit_code_is_told_as_it_is_and_blocks_what_needs_it(config, tmp_path):
    fails = python("import sys; print('half'); print('it broke', file=sys.stderr); sys.exit(3)")
    tasks = [ListedTask("a", "x", executor=fails), ListedTask("b", "x", needs=["a"], executor=fails)]
    result = await done(config, tmp_path, *tasks)
    assert (result["a"].state, result["a"].exit_code, result["a"].response) == ("failed", 3, "half")
    assert "exit code 3: it broke" in result["a"].error
    assert result["b"].state == "blocked"


async def test_claude_works_in_its_workspace_with_its_own_login_and_no_other_keys(config, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    task = ListedTask("a", "/clear then build it", executor="claude", model="sonnet", workspace="work")
    outcome = (await done(config, tmp_path, task))["a"]
    said = json.loads(outcome.response)
    assert said["argv"] == ["-p", "--verbose", "--output-format", "stream-json", "--model", "sonnet"]
    assert (said["cwd"], said["keys"]) == (str(work), [])
    assert (work / "made.txt").read_text().startswith("The task:\n/clear then")
    assert outcome.created == (str(work / "made.txt"),)
    assert (outcome.cost_usd, outcome.tokens) == (0.5, 10)


async def test_what_claude_says_went_wrong_fails_the_task(config, tmp_path):
    outcome = (await done(config, tmp_path, ListedTask("a", "fail", executor="claude")))["a"]
    assert outcome.state == "failed"


async def test_output_is_bounded_and_what_is_recorded_of_it_masked(config, tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "KEPT_BYTES", 100_000)
    monkeypatch.setattr(running, "OUTPUT_CHARS", 1_000)
    key = "ghp_" + "a1B2" * 9
    writes = python(f"print('key', {key[:9]!r} + {key[9:]!r}); print('x' * 500_000); print('end')")
    result = await done(config, tmp_path, ListedTask("a", "x", executor=writes))
    response = result["a"].response
    assert response.endswith("end")
    assert len(response) < 300_000
    assert key not in response
    assert key not in result.record.read_text()
    assert result.record.stat().st_size < 100_000


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_a_program_ends_with_all_that_it_started(how, config, tmp_path):
    starts = python(
        """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open("pid", "w").write(str(child.pid))
        print("begun", flush=True)
        time.sleep(600)
        """
    )
    task = ListedTask("a", "x", executor=starts, budget={"timeout_s": 1.0} if how == "timeout" else {})
    runs = []
    doing = asyncio.create_task(done(config, tmp_path, task, on_begun=runs.append))
    if how == "cancel":
        while not (runs and "begun" in runs[0].record.read_text()):
            await asyncio.sleep(0.02)
        for action in ("pause", "resume"):
            runs[0].submissions["a"].control(Act(action=action))
        runs[0].cancel()
    outcome = (await doing)["a"]
    assert outcome.state == ("cancelled" if how == "cancel" else "failed")
    pid = int((tmp_path / "pid").read_text())
    await until_ended([pid])


async def test_a_program_that_is_not_there_is_told_before_anything_runs(config, tmp_path):
    with pytest.raises(ConfigError, match=r"task 1 \('a'\): no-such-program is not installed"):
        await done(config, tmp_path, ListedTask("a", "x", executor=["no-such-program"]))
    with pytest.raises(ConfigError, match="for runs of rlm itself"):
        await done(config, tmp_path, ListedTask("a", "x", executor="claude", output_type={"type": "object"}))


@pytest.mark.parametrize("executor", ['"claude"', '["make", "test"]'])
def test_a_file_that_names_a_program_needs_trust(executor, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = tmp_path / "list.toml"
    file.write_text(f'[[tasks]]\nid = "a"\nprompt = "x"\nexecutor = {executor}\n')
    with pytest.raises(UntrustedConfigError, match="executor"):
        read_task_list(file)


async def test_the_record_has_what_a_program_wrote(config, tmp_path):
    result = await done(config, tmp_path, ListedTask("a", "x", executor=python("print('seen')")))
    assert past_of(result.record).ended["a"].exit_code == 0
    assert '"text":"seen\\n"' in result.record.read_text()
