"""Packages for work on data: there without a setting where the kernel confines a guest, and else with a way to them."""

from __future__ import annotations

from pathlib import Path

import rlm
from rlm.core.config import LocalConfig
from rlm.repl.local.launcher import on_demand
from tests.integration.cli import User
from tests.support.required import TEST_IMAGE, needs
from tests.support.wasm import opened


def test_pandas_and_numpy_work_in_a_cell_without_a_setting(user: User) -> None:
    user.write("data.csv", "day,n\nmon,1\ntue,2\nmon,4\n")
    code = (
        "import io\nimport numpy as np\nimport pandas as pd\n"
        "frame = pd.read_csv(io.StringIO(context))\nframe.columns = ['day', 'count']\n"
        "frame['twice'] = frame['count'] * 2\n"
        "FINAL([frame.groupby('day')['twice'].sum().to_dict(), float(np.linalg.norm([3, 4]))])"
    )
    done = user.rlm("exec", "-c", code, "-f", "data.csv", "--env", "local")
    assert (done.returncode, done.stdout) == (0, '[{"mon": 10, "tue": 4}, 5.0]\n'), done.stderr


def test_they_bring_no_file_of_a_checkout_or_of_the_user_into_reach(user: User) -> None:
    secret = user.write("secret.csv", "key\nvalue\n")
    package = Path(rlm.__file__).parent / "version.py"
    for path in (secret, package, Path("/etc/passwd")):
        code = f"import pandas as pd\npd.read_csv({str(path)!r}, sep='|')"
        done = user.rlm("exec", "-c", code, "--env", "local")
        assert (done.returncode, "PermissionError" in done.stderr) == (1, True), (path, done.stderr)


def test_a_package_that_is_not_offered_is_refused_with_the_way_to_it(user: User) -> None:
    refused = user.rlm("exec", "-c", "import msgspec", "--env", "local")
    assert "--allow-import msgspec" in refused.stderr
    allowed = user.rlm(
        "exec", "-c", "import msgspec; msgspec.json.decode(b'[1]')", "--env", "local", "--allow-import", "msgspec"
    )
    assert (allowed.returncode, allowed.stdout) == (0, "[1]\n"), allowed.stderr


def test_nothing_is_offered_where_the_boundary_may_not_hold_or_the_user_wants_less() -> None:
    assert "numpy" in on_demand(LocalConfig())
    assert on_demand(LocalConfig(allow_unconfined=True)) == []
    assert on_demand(LocalConfig(policy="strict")) == []
    assert "numpy" not in on_demand(LocalConfig(allowed_imports=("numpy",)))


@needs("docker")
def test_docker_says_what_to_add(user: User) -> None:
    done = user.rlm("exec", "-c", "import pandas", "--env", "docker", RLM_DOCKER_IMAGE=TEST_IMAGE)
    assert (done.returncode, "the user can name one that has it: docker.image" in done.stderr) == (1, True), done.stderr


@needs("wasm")
async def test_wasm_says_what_to_add() -> None:
    async with opened() as repl:
        error = (await repl.execute("import pandas")).error
    assert error is not None
    assert error.message.endswith("the user can add it: rlm wasm add PACKAGE")
