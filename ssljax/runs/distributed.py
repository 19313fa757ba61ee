"""Join several processes into one run."""

import jax

from ssljax.core.errors import ConfigError


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
