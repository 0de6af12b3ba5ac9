"""What runs used that were cut off, by their records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.events import ModelStart
from rlm.core.replay.record import Spent, spent_by, spent_on

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.core.replay.record import Recorded
    from rlm.runtime.models import BackendPool


def spent_in(root: Recorded, config: Config, backends: BackendPool) -> Spent:
    """What a run used, by its root; a call that was under way counts the most that it can have cost."""
    total = spent_by(root, 0)
    for span in root.spans():
        body = None if span.start is None or span.end is not None else span.start.body
        if isinstance(body, ModelStart):
            total += spent_on(body.given_up(backends.model(body.model, config).price), 0)
    return total
