"""The names of the numbers that a training run logs, what they mean and their units.

The one list that the trainer, the Prometheus exporter and the Grafana dashboard agree on. A
method logs more of its own, and an evaluation logs "<label>/<figure>".
"""

from collections.abc import Mapping

METRICS: Mapping[str, str] = {
    "loss": "Loss of the step, in the objective's own unit.",
    "weight": "Denominator of the loss: targets, images or pairs in the step.",
    "grad_norm": "L2 norm of the gradient before clipping.",
    "update_norm": "L2 norm of what the optimizer added.",
    "param_norm": "L2 norm of the parameters.",
    "rejected": "Steps of the run that were not applied: not finite, or spiking.",
    "learning_rate": "Learning rate of the step.",
    "seconds": "Seconds of training so far.",
    "data_wait": "Fraction of the time spent waiting for batches.",
    "tokens_per_second": "Tokens trained on a second, padding included.",
    "images_per_second": "Images trained on a second.",
    "mfu": "Model FLOP utilisation: fraction of the chips' peak, causal-corrected.",
    "model_flops_per_second": "FLOP/s of the model by its formula, all devices together.",
    "goodput": "Fraction of the wall time, restarts included, spent in steps that count.",
    "step_seconds_p50": "Seconds of a step, median of the recent ones.",
    "step_seconds_p90": "Seconds of a step, 90th percentile of the recent ones.",
    "step_seconds_p99": "Seconds of a step, 99th percentile of the recent ones.",
    "device_memory_bytes": "Bytes in use on the first device, as the runtime counts them.",
    "device_memory_peak_bytes": "Most bytes ever in use on the first device.",
}
# Logged as "<name>/<block>" beside the norm of everything.
BY_BLOCK = ("grad_norm", "update_norm")
# Logged as "<name>/<reason>", where there is one.
BY_REASON: Mapping[str, str] = {
    "unreadable": "Records that could not be read since the start; others took their place.",
}
# The mean over devices under the name itself, each device under "<name>/<index>".
BY_DEVICE: Mapping[str, str] = {
    "gpu_utilisation": "Fraction of the time in which a kernel ran.",
    "gpu_power_watts": "Power drawn.",
    "gpu_memory_bytes": "Bytes in use on the device, by every process.",
    "gpu_temperature_celsius": "Temperature of the chip.",
}
