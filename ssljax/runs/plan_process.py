"""Run the planner in a child process with fake devices: jax takes their number at its start."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from ssljax.core.errors import ConfigError, SsljaxError
from ssljax.train.chips import chip as find_chip

MOST = 512                   # compiling for more has not been tried
# The planner compiles and never runs: the least optimised code, and no LLVM passes, which change
# neither the collectives nor the buffers.
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


class PlanError(SsljaxError):
    """The planner's process failed."""


def run_plan(config: Mapping[str, Any], *, devices: int, chip: str,
             mesh: Mapping[str, int] | None, confirm: int = 3) -> dict[str, Any]:
    """Return the report of runs/plan.py; lines of progress go to standard error.

    Args:
        config: a plain, checked config.
        devices: how many, 1 to 512.
        chip: its name, see train/chips.py.
        mesh: axis -> size, the others 1; None to propose one.
        confirm: how many candidates are compiled.

    Raises:
        ConfigError: no such chip, too many devices, or a mesh that cannot be.
        PlanError: the process died.
    """
    find_chip(chip)
    if not 1 <= devices <= MOST:
        raise ConfigError(f"--devices {devices}; expected 1 to {MOST}: as many fake devices are "
                          "made on this machine.")
    if confirm < 1:
        raise ConfigError(f"--confirm {confirm}; expected at least 1.")
    kept = [flag for flag in os.environ.get("XLA_FLAGS", "").split()
            if not flag.startswith(("--xla_force_host_platform_device_count",
                                    "--xla_backend_optimization_level",
                                    "--xla_llvm_disable_expensive_passes"))]
    flags = [*kept, f"--xla_force_host_platform_device_count={devices}", QUICK]
    request = {"config": config, "devices": devices, "chip": chip.lower(), "mesh": mesh,
               "confirm": confirm}
    done = subprocess.run(
        [sys.executable, "-m", "ssljax.runs.plan"], input=json.dumps(request), text=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(flags)})
    if done.returncode:
        raise PlanError(f"The planner's process ended with code {done.returncode}; its last lines "
                        "above say why. Very large programs may need more host memory.")
    report = json.loads(done.stdout)
    if "error" in report:
        raise ConfigError(report["error"])
    return report
