"""The image of the service, built of the packages that the tests themselves run with, and a container of it that is
started as `compose.yaml` has it."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import yaml
from packaging.requirements import Requirement

from tests.architecture.sources import ROOT
from tests.support.required import TEST_IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator


def docker(*arguments: str) -> str:
    """What a command of the engine prints."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def copy_packages(lib: Path) -> None:
    """Lay out the project and what it needs at least, as `make image` does with all extras of the image."""
    wanted, seen = ["rlm-runtime"], set()
    while wanted:
        requirement = Requirement(wanted.pop())
        if requirement.name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(requirement.name)
        found = metadata.distribution(requirement.name)
        wanted += found.requires or []
        for file in found.files or ():
            if ".." not in file.parts and file.suffix not in (".pyc", ".pth"):
                target = lib / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    shutil.copytree(ROOT / "src/rlm", lib / "rlm", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


@contextmanager
def service_image(folder: Path) -> Iterator[str]:
    """The id of the image, which is removed in the end."""
    copy_packages(folder / "build/image/lib")
    shutil.copy(ROOT / "Dockerfile", folder)
    name = f"rlm-test-service:{uuid4().hex[:12]}"
    docker("build", "--quiet", "--network", "none", "--build-arg", f"BASE={TEST_IMAGE}", "--tag", name, str(folder))
    try:
        yield name
    finally:
        docker("image", "rm", "--force", name)


def compose() -> Any:
    """What `compose.yaml` says."""
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


@contextmanager
def service_container(image: str, *arguments: str, options: tuple[str, ...] = ()) -> Iterator[str]:
    """The id of a container of the service, which is removed in the end with its volume."""
    service = compose()["services"]["service"]
    assert service["read_only"]
    assert service["init"]
    given = ["--read-only", "--init", f"--pids-limit={service['pids_limit']}", "--publish=127.0.0.1::8378"]
    given += [f"--cap-drop={each}" for each in service["cap_drop"]]
    given += [f"--security-opt={each}" for each in service["security_opt"]]
    given += [f"--tmpfs={each}" for each in service["tmpfs"]]
    given += [f"--volume={each.partition(':')[2]}" for each in service["volumes"]]
    container = docker("run", "--detach", "--health-interval=1s", *given, *options, image, *arguments)
    try:
        yield container
    finally:
        docker("rm", "--force", "--volumes", container)


def wait_until_healthy(container: str) -> str:
    """Wait until the engine finds a container well; what its check then said."""
    with subprocess.Popen(
        ["docker", "events", "--filter", f"container={container}", "--format", "{{.Status}}", "--since", "1"],
        stdout=subprocess.PIPE,
        text=True,
    ) as events:
        assert events.stdout is not None
        for line in events.stdout:
            if line.startswith(("health_status: healthy", "die")):
                break
        events.kill()
    state = json.loads(docker("inspect", "--format", "{{json .State}}", container))
    assert state.get("Health", {}).get("Status") == "healthy", docker("logs", container)
    return str(state["Health"]["Log"][-1]["Output"])
