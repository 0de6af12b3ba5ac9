"""How a run is watched: a live line on a terminal, a line for each step with --verbose, events on stdout with
stream-json, or nothing at all; and how a signal, or a reader of stdout that goes away, makes it land."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rlm.cli.console import drop_stdout, say

if TYPE_CHECKING:
    from types import TracebackType

    from rlm.cli.options import OutputOptions
    from rlm.core.events import Event
    from rlm.core.interfaces import Sink
    from rlm.runtime.rlm import RLM
    from rlm.sinks.stream_json import StreamJson

BROKEN_PIPE_CODE = 141
"""What a shell reports of a program that a broken pipe has ended."""


class Watch:
    """The sinks of one run; one of them itself, to know whether there is a run to land."""

    on_loop = True

    def __init__(self, output: OutputOptions) -> None:
        self._view = _view(output)
        self._is_quiet = output.quiet
        self._rlm: RLM | None = None
        self._begun = False
        self.stream = _stream(self) if output.output_format == "stream-json" else None
        """The sink that writes events as JSON lines; the result follows them."""

    @property
    def is_shown(self) -> bool:
        """Whether a person follows on stderr."""
        return self._view is not None

    @property
    def sinks(self) -> list[Sink]:
        return [sink for sink in (self, self._view, self.stream) if sink is not None]

    def attach(self, rlm: RLM) -> None:
        """Set the runtime whose run `land` cancels."""
        self._rlm = rlm

    def land(self) -> bool:
        """Cancel the run, so that it lands with its best answer so far; False if none has begun."""
        if self._rlm is None or not self._begun:
            return False
        self.__exit__(None, None, None)
        say("cancelling; a second signal ends it at once")
        self._rlm.cancel()
        return True

    def reader_gone(self) -> None:
        """Cancel the run: nobody reads stdout any more, and going on would cost money for nothing."""
        drop_stdout()
        if self._rlm is not None:
            self._rlm.cancel()

    def write(self, event: Event) -> None:
        self._begun = self._begun or event.type == "completion.start"
        if event.type in ("sandbox", "warning") and self._view is None and not self._is_quiet:
            self._say_noticed(event)

    def close(self) -> None:
        """There is nothing to close."""

    def _say_noticed(self, event: Event) -> None:
        """Name the sandbox that was chosen, and show warnings of the run, where no view does."""
        from rlm.sinks.progress import notice_text

        if notice := notice_text(event):
            say(notice)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._view is not None:
            self._view.close()


def _stream(watch: Watch) -> StreamJson:
    from rlm.sinks.stream_json import StreamJson

    return StreamJson(sys.stdout.buffer, watch.reader_gone)


def _view(output: OutputOptions) -> Sink | None:
    if output.quiet:
        return None
    from rlm.sinks.progress import LiveLine, StepLines

    if output.verbose:
        return StepLines(sys.stderr)
    return LiveLine(sys.stderr) if sys.stderr.isatty() else None
