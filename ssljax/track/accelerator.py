"""Utilisation, power, memory and temperature of NVIDIA GPUs, as the driver reports them (NVML).

Utilisation here is the fraction of time in which any kernel ran, not how busy the chip was: MFU
says that. https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

# name -> (NVML module, device handle) -> figure in the unit of the name.
FIGURES: Mapping[str, Callable[[Any, Any], float]] = {
    "gpu_utilisation": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
    "gpu_power_watts": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    "gpu_memory_bytes": lambda nvml, gpu: float(nvml.nvmlDeviceGetMemoryInfo(gpu).used),
    "gpu_temperature_celsius": lambda nvml, gpu: float(
        nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
}


def read_accelerators(visible: str | None = None) -> dict[str, float]:
    """Return the figures of each GPU, "<name>/<index>", and their means, "<name>".

    What a device does not report (MIG slices have no utilisation) is left out; without NVIDIA's
    driver or the package nvidia-ml-py the answer is empty. About a millisecond a device.

    Args:
        visible: CUDA_VISIBLE_DEVICES, for a process that has some of the machine's GPUs: indices
            or UUIDs, divided by commas. None means all.
    """
    nvml = start_nvml()
    if nvml is None:
        return {}
    figures: dict[str, float] = {}
    for name, read in FIGURES.items():
        values = {}
        for index, gpu in find_devices(nvml, visible).items():
            try:
                values[f"{name}/{index}"] = read(nvml, gpu)
            except nvml.NVMLError:
                continue
        if values:
            figures |= {name: sum(values.values()) / len(values)} | values
    return figures


@functools.cache
def start_nvml() -> ModuleType | None:
    """Return NVML, started once a process (the first call may wake the driver), or None."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def find_devices(nvml: Any, visible: str | None) -> dict[str, Any]:
    """Return name -> handle of the GPUs that a process sees; those that are lost are left out."""
    count = nvml.nvmlDeviceGetCount()
    wanted: Sequence[str] = [str(i) for i in range(count)] if visible is None else [
        part.strip() for part in visible.split(",") if part.strip()]
    found = {}
    for name in wanted:
        try:
            found[name] = (nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit()
                           else nvml.nvmlDeviceGetHandleByUUID(name))
        except nvml.NVMLError:
            continue
    return found
