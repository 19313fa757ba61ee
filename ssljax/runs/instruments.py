"""What a run measures besides its method: work of a step, device memory, accelerators."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import jax

from ssljax.runs.build import Method, work_per_step
from ssljax.track.accelerator import read_accelerators
from ssljax.train.chips import chip, chip_name
from ssljax.train.flops import step_flops
from ssljax.train.meter import Meter, Rejection, Work


def device_memory() -> dict[str, float]:
    """Return bytes in use and their peak on this process's first device, {} where untold (CPU)."""
    stats = jax.local_devices()[0].memory_stats() or {}
    names = {"bytes_in_use": "device_memory_bytes", "peak_bytes_in_use": "device_memory_peak_bytes"}
    return {name: float(stats[key]) for key, name in names.items() if key in stats}


def work_of(config: Mapping[str, Any], method: Method) -> Work:
    """Return what a step does; its FLOPs only where the chip's peak is known, since they take
    a second to count.
    """
    units, unit = work_per_step(config, method.pretext)
    kind = chip_name(jax.devices()[0].device_kind)
    if kind in (None, "cpu"):
        return Work(units, unit)
    flops = step_flops(method.objective, method.pretext.views, method.pretext.spec,
                       config["batch_size"], key=method.key,
                       causal=method.model.init_cache is not None)
    peak = chip(kind).fp32 if config["compute_dtype"] == "float32" else chip(kind).bf16
    return Work(units, unit, flops.total, peak * jax.device_count())


def gauges() -> dict[str, float]:
    """Return what is read whenever a step is logged."""
    return {**device_memory(), **read_accelerators(os.environ.get("CUDA_VISIBLE_DEVICES"))}


def make_meter(config: Mapping[str, Any], work: Work, *, on_reject: Callable[[Rejection], None],
               counts: Callable[[], Mapping[str, float]], **rest: Any) -> Meter:
    """Return the meter of a run; rejected steps are recorded by the first process.

    Args:
        config: the plain config of the run.
        work: of a step.
        on_reject: called with every rejected step.
        counts: read whenever a step is logged: unreadable records by reason.
        rest: what else train.meter.Meter takes.
    """
    record = on_reject if jax.process_index() == 0 else lambda rejection: None
    return Meter(work=work, max_rejected=config["max_rejected"],
                 gauges=lambda: {**gauges(), **counts()}, on_reject=record, **rest)
