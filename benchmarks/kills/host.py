"""The process that is killed: begins a run, or resumes one, and replays it when it has ended."""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kills.model import DATA, PROMPT, TURNS
from rlm import RLM, Budget, Config, RLMResult, tool
from rlm.backends import openai  # noqa: F401 - loaded before the processes are forked
from rlm.core.config import ProviderConfig
from rlm.core.exceptions import ConfigError
from rlm.core.interfaces import Tool
from rlm.runtime import rlm as runtime  # noqa: F401 - as above
from tests.support.environments import settings_of

_SLOWEST_S = 0.08


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one process is to do."""

    folder: Path
    environment: str
    url: str
    """The address of the model."""
    resumes: str | None
    """The run to resume; None to begin one."""


def work(asked: Work) -> None:
    """Do it, replay what came of it, and write the differences to `result.json`."""
    os.environ["OPENAI_API_KEY"] = "sk-none"
    config = Config(
        model="openai/m",
        dialect="code",
        log_dir=str(asked.folder / "logs"),
        openai=ProviderConfig(base_url=asked.url, stream=False),
        budget=Budget(max_turns=len(TURNS)),
        **settings_of(asked.environment),
    )
    with RLM(config=config, tools=[_look(asked.folder)]) as rlm:
        result = _result(rlm, asked.resumes)
        report = rlm.replay(result.run_id, context=DATA)
    differences = [f"{each.what}: {each.before} -> {each.after}" for each in report.differences]
    unfinished = asked.folder / "result.part"
    unfinished.write_text(json.dumps(differences))
    unfinished.rename(asked.folder / "result.json")


def _result(rlm: RLM, resumes: str | None) -> RLMResult:
    if resumes is None:
        return rlm.completion(PROMPT, DATA)
    try:
        return rlm.resume(resumes)
    except ConfigError as error:  # killed before the context was kept
        if "the context of run" not in str(error):
            raise
        return rlm.resume(resumes, context=DATA)


def _look(folder: Path) -> Tool:
    @tool(reads_only=True)
    def look(where: str) -> str:
        """Look somewhere."""
        with (folder / "tools").open("a") as file:
            file.write(f"{where}\n")
        time.sleep(random.uniform(0.02, _SLOWEST_S))
        return f"seen: {where}"

    return look
