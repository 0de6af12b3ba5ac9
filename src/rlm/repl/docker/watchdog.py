"""The watchdog of one sandbox, a process of its own: `python -m rlm.repl.docker.watchdog OWNER FOLDER`.

It is no child of the host. Its stdin ends when the host does, however that ends; a host that has left nothing says so
before. It imports docker-py only when it has work, and never outlives that.
"""

from __future__ import annotations

import os
import shutil
import sys
import time

from rlm.core.exceptions import RLMError
from rlm.repl.docker.sweeping import DONE, remove_all_of

_TRIES = 20
_PAUSE_S = 0.5
_LOOKS = 5
"""How many looks in a row must find nothing: the engine may still be making what the host had just asked for."""


def main(owner_id: str, folder: str) -> None:
    """Wait for the end of the host, then remove what it left."""
    if os.fork():
        os._exit(0)
    if os.read(0, 1) == DONE:
        return
    shutil.rmtree(folder, ignore_errors=True)
    from rlm.repl.docker.engines import asking, connect_blocking

    looks = 0
    for _ in range(_TRIES):
        try:
            client = connect_blocking()
            with asking():
                looks = 0 if remove_all_of(client, owner_id) else looks + 1
        except RLMError:  # the engine restarts, or a container goes by itself: look again
            looks = 0
        if looks == _LOOKS:
            break
        time.sleep(_PAUSE_S)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
