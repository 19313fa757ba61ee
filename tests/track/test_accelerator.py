"""NVML's figures in the units of their names, from a driver made up for the test."""

import sys
import types

import pytest

from ssljax.track import accelerator


class NVMLError(Exception):
    """As pynvml's."""


def fake_nvml(*, starts: bool = True) -> types.ModuleType:
    """Return a pynvml of two GPUs; the second reports no utilisation and is also "GPU-b"."""
    nvml = types.ModuleType("pynvml")

    def refuse(*_):
        raise NVMLError("not supported")

    def handle(index: int) -> int:
        return index if index < 2 else refuse()

    nvml.NVMLError, nvml.NVML_TEMPERATURE_GPU = NVMLError, 0
    nvml.nvmlInit = (lambda: None) if starts else refuse
    nvml.nvmlDeviceGetCount = lambda: 2
    nvml.nvmlDeviceGetHandleByIndex = handle
    nvml.nvmlDeviceGetHandleByUUID = lambda name: 1 if name == "GPU-b" else refuse()
    nvml.nvmlDeviceGetUtilizationRates = lambda gpu: (
        types.SimpleNamespace(gpu=50) if gpu == 0 else refuse())
    nvml.nvmlDeviceGetPowerUsage = lambda gpu: 100_000 + gpu * 200_000            # milliwatts
    nvml.nvmlDeviceGetMemoryInfo = lambda gpu: types.SimpleNamespace(used=2**30 * (gpu + 1))
    nvml.nvmlDeviceGetTemperature = lambda gpu, sensor: 40 + gpu
    return nvml


@pytest.fixture
def install(monkeypatch):
    """Return a function that puts a module (or None for none) in pynvml's place."""
    def put(module) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", module)
        accelerator.start_nvml.cache_clear()

    yield put
    accelerator.start_nvml.cache_clear()


def test_each_device_and_the_mean_over_those_that_report(install):
    install(fake_nvml())
    figures = accelerator.read_accelerators()
    assert figures["gpu_utilisation"] == figures["gpu_utilisation/0"] == 0.5
    assert "gpu_utilisation/1" not in figures
    assert (figures["gpu_power_watts/0"], figures["gpu_power_watts/1"]) == (100.0, 300.0)
    assert figures["gpu_power_watts"] == 200.0
    assert figures["gpu_memory_bytes"] == 1.5 * 2**30
    assert figures["gpu_temperature_celsius"] == 40.5


@pytest.mark.parametrize("visible, found", [("1", ["1"]), ("GPU-b", ["GPU-b"]), ("", []),
                                            ("0, 7", ["0"])])
def test_only_the_visible_devices_count(install, visible, found):
    install(fake_nvml())
    figures = accelerator.read_accelerators(visible)
    assert [n.partition("/")[2] for n in figures if n.startswith("gpu_power_watts/")] == found


@pytest.mark.parametrize("module", [None, fake_nvml(starts=False)], ids=["package", "driver"])
def test_nothing_is_read_without_package_or_driver(install, module):
    install(module)
    assert accelerator.read_accelerators() == {}
