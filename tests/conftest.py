"""What every test shares: properties have no deadline, for a loaded machine is no defect, and CI repeats itself; the
gate of `tests/support/required.py` holds each test that needs what isn't there, and nothing is left behind."""

from __future__ import annotations

import gc
import os
import signal
import tempfile

from hypothesis import HealthCheck, settings

pytest_plugins = ("tests.support.required", "tests.support.leftovers")

# Records that no test names a place for go to one that goes with this process, not to the user's own.
_state = tempfile.TemporaryDirectory(prefix="rlm-tests-")
os.environ["XDG_STATE_HOME"] = _state.name

# A shell starts what runs in its background with signals ignored, and so does nohup; children inherit that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

settings.register_profile(
    "project",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what was collected: thousands of tests that live as long as the session."""
    gc.freeze()
