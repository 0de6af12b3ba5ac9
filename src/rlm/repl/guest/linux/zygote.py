"""A zygote: a process that has everything imported and forks confined guests on request, in a few milliseconds.

The base zygote forks guests without a context, and zygotes that load one context, hold it for good and fork the guests
that share it. No guest code ever runs in a zygote. It ends with its parent, and when its control socket closes.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import sys
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest import context, kernel, loops, preload
from rlm.repl.guest.capture import Output
from rlm.repl.guest.link import DescriptorTransport
from rlm.repl.guest.linux import confine, paths, trial
from rlm.repl.guest.linux.control import Control, ForkRequest
from rlm.repl.guest.main import Prepared, serve
from rlm.repl.guest.namespace import NoPolicy, Policy
from rlm.repl.guest.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_REFUSED = 70
_KEPT_ENDS = 256


def main(descriptor: int, host_pid: int) -> NoReturn:
    """Serve the host over the socket `descriptor` until it goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kernel.die_with_parent(host_pid)
    control = Control(descriptor)
    request = control.receive()
    if request is None:
        os._exit(0)
    zygote = _start(control, request.message, host_pid)
    zygote.run()
    os._exit(0)


def _start(control: Control, settings: Mapping[str, Any], host_pid: int) -> Zygote:
    kernel.prefer_as_victim()
    namespaces = confine.enter_namespaces()
    kernel.die_with_parent(host_pid)  # a new user namespace resets it
    everything = settings["policy"] == "off" or bool(settings["imports"])
    packages = everything or bool(settings["on_demand"])
    kernel.limit_arenas()
    prepared = Prepared(policy=_load_policy(settings))
    notes = _preload(settings["imports"]) if settings["preload"] else []
    sys.path.remove(settings["root"])  # where this package was found; guests have it loaded
    plan = confine.prepare(
        paths.readable(packages=packages, checkouts=everything), settings["memory_bytes"], namespaces
    )
    sys.path[:] = paths.import_path(packages=packages, checkouts=everything)
    zygote = Zygote(control, plan, prepared, require_all=not settings["allow_unconfined"])
    layers = trial.layers_of(plan)
    _freeze()
    control.send({"t": "ready", "layers": [asdict(layer) for layer in layers], "notes": notes})
    return zygote


def _load_policy(settings: Mapping[str, Any]) -> Policy:
    if settings["policy"] == "off":
        return NoPolicy()
    from rlm.repl.guest.policy.restricted import RestrictedPolicy  # alone needs RestrictedPython

    policy: Policy = RestrictedPolicy(settings["policy"], tuple(settings["imports"]), tuple(settings["on_demand"]))
    return policy


def _preload(imports: Iterable[str]) -> list[str]:
    """Import what guests are likely to use; notes say which of the user's own packages failed."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    notes = []
    preload.import_library()
    for name in imports:
        try:
            importlib.import_module(name)
        except Exception as e:  # noqa: BLE001 - a foreign package may raise anything
            notes.append(f"{name} cannot be imported: {type(e).__name__}: {e}")
    loops.install()
    time.tzset()
    os.environ.clear()
    return notes


def _freeze() -> None:
    """Keep the collector of guests from touching, and so copying, the pages they share."""
    gc.collect()
    gc.freeze()


class Zygote:
    """Forks on request; one instance per process."""

    def __init__(self, control: Control, plan: confine.Confinement, prepared: Prepared, *, require_all: bool) -> None:
        self._control = control
        self._plan = plan
        self._prepared = prepared
        self._require_all = require_all
        self._children: dict[int, int] = {}
        """Process ids by pidfd."""
        self._ends: dict[int, int] = {}
        """How the last children ended, by process id: the exit code, or minus the signal."""

    def run(self) -> None:
        """Answer requests until the host goes."""
        actions: dict[str, Callable[[ForkRequest], None]] = {
            "guest": self._fork_guest,
            "context": self._fork_context,
            "hold": self._hold,
            "ended": self._tell_end,
        }
        while (request := self._next_request()) is not None:
            actions[request.message["t"]](request)

    def _next_request(self) -> ForkRequest | None:
        """Wait for a request, reaping children meanwhile: until then their pids stay theirs."""
        poll = select.poll()
        for descriptor in (self._control.socket.fileno(), *self._children):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _event in poll.poll()}
            for ended in ready & self._children.keys():
                poll.unregister(ended)
                self._reap(ended)
            if self._control.socket.fileno() in ready:
                return self._control.receive()

    def _reap(self, child: int) -> None:
        result = os.waitid(os.P_PIDFD, child, os.WEXITED)
        os.close(child)
        pid = self._children.pop(child)
        if result is not None:
            self._ends[pid] = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        if len(self._ends) > _KEPT_ENDS:
            del self._ends[next(iter(self._ends))]

    def _tell_end(self, request: ForkRequest) -> None:
        """The host has seen the end of a child before it asks, and so has `_next_request`."""
        self._control.send({"t": "ended", "status": self._ends.pop(request.message["pid"], None)})

    def _fork_guest(self, request: ForkRequest) -> None:
        frames, output = request.descriptors
        self._fork(request, lambda parent: self._become_guest(frames, output, parent))

    def _fork_context(self, request: ForkRequest) -> None:
        (control,) = request.descriptors
        self._fork(request, lambda parent: self._become_context(control, parent))

    def _fork(self, request: ForkRequest, child: Callable[[int], NoReturn]) -> None:
        """Fork, hand the host a pidfd of the child, and drop the descriptors that were the child's."""
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as e:
            self._control.send({"t": "failed", "message": f"fork: {e.strerror}"})
        else:
            if pid == 0:
                child(parent)
            pidfd = os.pidfd_open(pid)
            self._children[pidfd] = pid
            self._control.send({"t": "forked", "pid": pid}, [pidfd])
        for descriptor in request.descriptors:
            os.close(descriptor)

    def _become_guest(self, frames: int, output: int, parent: int) -> NoReturn:
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # its own: the flags of a shared one could tell other guests
            os.dup2(output, 1)
            os.dup2(output, 2)
            _close_all_but(frames, output, self._plan.ruleset)
            layers = confine.apply(self._plan, parent)
            missing = confine.missing(layers)
            if missing and self._require_all:
                os.write(2, f"not confined: {missing[0].name}: {missing[0].detail}".encode())
                os._exit(_REFUSED)
            report = {layer.name: layer.detail if layer.active else f"missing: {layer.detail}" for layer in layers}
            serve(DescriptorTransport(frames, frames), Output(output), replace(self._prepared, report=report))
        except BaseException as e:  # noqa: BLE001 - never back into the loop of the zygote
            os.write(output, f"the guest failed: {type(e).__name__}: {e}".encode())
        finally:
            os._exit(0)

    def _become_context(self, control: int, parent: int) -> NoReturn:
        try:
            kernel.die_with_parent(parent)
            _close_all_but(control, self._plan.ruleset)
            self._control = Control(control)
            self._children, self._ends = {}, {}
            self.run()
        finally:
            os._exit(0)

    def _hold(self, request: ForkRequest) -> None:
        (source,) = request.descriptors
        try:
            given = context.load(source, request.message["kind"], request.message["parts"])
        except (WireError, MemoryError, ValueError, OSError) as e:
            self._control.send({"t": "failed", "message": f"the context cannot be loaded: {type(e).__name__}: {e}"})
            return
        finally:
            os.close(source)
        self._prepared = replace(self._prepared, context=given)
        _freeze()
        self._control.send({"t": "held"})


def _close_all_but(*kept: int) -> None:
    lowest = 3
    for descriptor in sorted(fd for fd in kept if fd >= lowest):
        os.closerange(lowest, descriptor)
        lowest = descriptor + 1
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
