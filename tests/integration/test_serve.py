"""`rlm serve` as a process: detached, used, killed with a run under way, started again, and stopped."""

import json
import os
import select
import signal
import urllib.request

from tests.integration.cli import fenced


def ask(url, token, path, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Authorization": f"Bearer {token}"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_a_detached_service_goes_on_after_kill_9(user):
    model = user.script(fenced("import time; time.sleep(0.01); FINAL(6 * 7)"))
    start = ("serve", "--detach", "--port", "0", "--model", model, "--environment", "local")
    folder = user.home / ".local/state/rlm/service"
    started = user.process(*start)
    assert started.returncode == 0, started.stderr
    url, token = started.stdout.split()[0], (folder / "token").read_text().strip()
    assert (folder / "token").stat().st_mode & 0o777 == 0o600
    assert token not in started.stdout + started.stderr + (folder / "service.log").read_text()
    note = ask(url, token, "/v1/runs", {"prompt": "?"})
    pid = json.loads((folder / "serving.json").read_bytes())["pid"]
    assert user.process("serve", "status").stdout.startswith(url)
    descriptor = os.pidfd_open(pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    assert select.select([descriptor], [], [], 30)[0], "it is gone"
    os.close(descriptor)
    again = user.process(*start)
    assert again.returncode == 0, again.stderr
    url = again.stdout.split()[0]
    try:
        result = ask(url, token, f"/v1/runs/{note['id']}/result?wait=60")
        assert (result["status"], result["value"]) == ("completed", 42)
    finally:
        stopped = user.process("serve", "stop")
    assert (stopped.returncode, stopped.stderr) == (0, "the service has stopped\n")
    assert user.process("serve", "status").returncode == 1
