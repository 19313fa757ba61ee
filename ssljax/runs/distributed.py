"""Join several processes into one run."""

from collections.abc import Callable

import jax
from jax.experimental import multihost_utils

from ssljax.core.errors import ConfigError, SsljaxError


def join(address: str, processes: int, process: int) -> None:
    """Connect this process to the others; returns when all are there.

    Args:
        address: host:port of process 0.
        processes: how many there are.
        process: which one this is, from 0.

    Raises:
        ConfigError: the numbers cannot be.
    """
    if ":" not in address or not 0 <= process < processes:
        raise ConfigError(f"--coordinator {address} --processes {processes} --process {process}: "
                          "expected host:port, and process from 0 to processes - 1.")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, processes, process, heartbeat_timeout_seconds=30)


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
