"""The image of the service, built and started for real: a run in it, under the walls that `compose.yaml` gives it."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any

from tests.integration.cli import fenced
from tests.support.required import needs
from tests.support.service_image import compose, docker, service_container, service_image, wait_until_healthy

if TYPE_CHECKING:
    from pathlib import Path

STATE = "/data/.local/state/rlm/service"


def ask(url: str, token: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


@needs("docker")
def test_the_service_runs_in_its_image_and_answers(tmp_path: Path) -> None:
    script = tmp_path / "replies.json"
    script.write_text(json.dumps([fenced("FINAL(6 * 7)")]))
    model = ("--model", "scripted//replies.json")
    with (
        service_image(tmp_path / "context") as image,
        service_container(
            image, "serve", "--host", "0.0.0.0", *model, options=(f"--volume={script}:/replies.json:ro",)
        ) as container,
    ):
        said = wait_until_healthy(container)
        assert "is well; sandboxes: local" in said
        assert "not docker" in said
        token = docker("exec", container, "cat", f"{STATE}/token")
        url = f"http://{docker('port', container, '8378/tcp')}"
        note = ask(f"{url}/v1/runs", token, {"prompt": "?"})
        result = ask(f"{url}/v1/runs/{note['id']}/result?wait=60", token)
        assert (result["status"], result["value"]) == ("completed", 42)
        assert docker("exec", container, "id", "-u") == "10001"
        written = subprocess.run(["docker", "exec", container, "touch", "/opt/rlm/x"], capture_output=True, text=True)
        assert "Read-only file system" in written.stderr
        docker("stop", "--time", "30", container)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", container) == "0"


def test_the_file_for_compose_serves_this_machine_alone() -> None:
    services = compose()["services"]
    assert services["service"]["ports"] == ["127.0.0.1:${RLM_PORT:-8378}:8378"]
    assert services["page"]["network_mode"] == "host"
    assert all(each["read_only"] and each["cap_drop"] == ["ALL"] for each in services.values())
