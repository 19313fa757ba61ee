"""Join several processes into one run, and leave it together.

A process that ends for any other reason than the common one would leave its peers waiting: in a
collective until the connection breaks, in jax's shutdown for minutes. So it ends at once, and the
others notice: a broken connection raises in them within a second, a silent host is missed by its
heartbeat. What a process that lost its peers exits with:

    75   it saw the connection break and ended itself: start the run again, it continues
    134  jax's runtime aborted it (SIGABRT) when a heartbeat was missed: the same
"""

import contextlib
import importlib.util
import os
import pathlib
import socket
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

import jax
from absl import logging
from jax.experimental import multihost_utils

from ssljax.core.errors import ConfigError, Interrupted, SsljaxError
from ssljax.runs.placement import Placement, find_placement, from_flags

# A host that says nothing for this long is dead. jax aborts the others up to this much later, so
# that with 20 every process has ended within 30 s of a silent death.
HEARTBEAT_S = 20
SHUTDOWN_S = 30
PEER_LOST = 75                   # EX_TEMPFAIL: start again


def start(mode: str, coordinator: str | None, processes: int, process: int) -> Placement | None:
    """Join the run that flags or the environment speak of, and say which; None where alone.

    Args:
        mode: how to find out, see runs.placement; flags win.
        coordinator: host:port of process 0, or None.
        processes: how many, with a coordinator.
        process: which of them, with a coordinator.

    Raises:
        ConfigError: what was found cannot be.
        SsljaxError: the others did not come.
    """
    placement = from_flags(coordinator, processes, process) if coordinator else find_placement(
        mode, os.environ, tpu_hosts=has_tpus(),
        full_name=socket.getfqdn() if "JOB_COMPLETION_INDEX" in os.environ else "")
    if placement is not None:
        print(placement.describe(), flush=True)
        join(placement)
    return placement


def has_tpus() -> bool:
    """Say whether this machine has TPUs and their library; touches no device."""
    return (importlib.util.find_spec("libtpu") is not None
            and any(any(pathlib.Path("/dev").glob(name)) for name in ("accel*", "vfio/[0-9]*")))


def join(placement: Placement) -> None:
    """Connect this process to the others; returns when all are there.

    Raises:
        SsljaxError: they were not, for five minutes.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    devices = None if placement.local_devices is None else list(placement.local_devices)
    try:
        jax.distributed.initialize(
            placement.coordinator, placement.processes, placement.process, devices,
            # With everything told, jax's own detection would only narrow the devices down.
            cluster_detection_method=None if placement.coordinator is None else "deactivate",
            heartbeat_timeout_seconds=HEARTBEAT_S, shutdown_timeout_seconds=SHUTDOWN_S)
    except RuntimeError as err:
        raise SsljaxError(f"{placement.describe()} The processes did not find each other: "
                          f"{str(err).splitlines()[0]}. Are all of them running, and can they "
                          "reach the coordinator's port?") from err


@contextlib.contextmanager
def leaving_on(*errors: type[BaseException]) -> Iterator[None]:
    """End this process at once where one of `errors` is raised inside and there are others.

    Interrupted passes: all processes stop at the same step, and shut down in order. Around the
    training loop use JaxRuntimeError, so that nothing that waits for a lost peer (the save in
    progress) is closed in between.
    """
    try:
        yield
    except Interrupted:
        raise
    except errors as err:
        if jax.process_count() == 1:
            raise
        leave(err)


def exit_code(err: BaseException) -> int:
    """Return what a process ends with: 75 where starting again helps."""
    if isinstance(err, jax.errors.JaxRuntimeError):
        return 1 if "RESOURCE_EXHAUSTED" in str(err) else PEER_LOST
    return 130 if isinstance(err, KeyboardInterrupt) else getattr(err, "exit_code", 1)


def leave(err: BaseException) -> NoReturn:
    """Say why, and end without waiting for the others; no finaliser of this process runs."""
    code, me = exit_code(err), f"Process {jax.process_index()}"
    if isinstance(err, SsljaxError):
        print(f"ssljax: {me}: {err}", file=sys.stderr)
    elif code == PEER_LOST:
        logging.error("%s lost its peers: %s. Start the run again; it continues from the last "
                      "checkpoint.", me, str(err).splitlines()[0])
    else:
        logging.error("%s cannot go on.", me, exc_info=err)
    logging.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def first_process_decides(check: Callable[[], None]) -> None:
    """Run `check` on process 0 before any process goes on; if it raises, every process does.

    Raises:
        SsljaxError: what `check` raised; ConfigError on the other processes.
    """
    refusal = None
    if jax.process_index() == 0:
        try:
            check()
        except SsljaxError as err:
            refusal = err
    if jax.process_count() > 1 and multihost_utils.broadcast_one_to_all(refusal is not None):
        raise refusal or ConfigError("Process 0 cannot go on; its message says why.")
    if refusal is not None:
        raise refusal
