"""Accelerators by their vendors' datasheets: peak rates, memory and links of one device.

Peaks are dense (a sparse figure on a datasheet is halved), rates are per second, giga is 10^9. No
datasheet figure is reached in a run: what fraction is expected is said where it is used, in
train/roofline.py.
"""

import dataclasses

from ssljax.core.errors import ConfigError, nearest


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device as jax.devices() counts them.

    bf16:    peak operations a second of bfloat16 products with float32 sums
    fp8:     of 8-bit floating point; 0 where it is no faster than bfloat16
    fp32:    of float32 (TF32 on NVIDIA's tensor cores; passes of bfloat16 on TPUs)
    memory:  bytes of HBM
    hbm:     bytes a second to HBM
    link:    bytes a second out of one device to its neighbours in a node or slice
    network: bytes a second out of one device beyond them
    node:    devices that reach each other by `link`
    source:  where the figures are from
    kinds:   how jax's device_kind begins
    """

    bf16: float
    fp8: float
    fp32: float
    memory: float
    hbm: float
    link: float
    network: float
    node: int
    source: str
    kinds: tuple[str, ...]


T, GB = 1e12, 1e9
# Links are one direction, which is what a ring all-gather can use; datasheets of NVLink count both.
# On a TPU a mesh axis is a ring along one dimension of the torus: a third of a 3-D chip's links,
# half of a 2-D one's. Networks: one 400 Gbit/s adapter a GPU as in NVIDIA's reference designs
# (200 for A100); TPUs as Google states a pod's or chip's data-center bandwidth (v4: as v5p).
NVIDIA, GOOGLE = "https://www.nvidia.com/en-us/data-center", "https://cloud.google.com/tpu/docs"
CHIPS = {
    "a100": Chip(312 * T, 0, 156 * T, 80 * GB, 2039 * GB, 300 * GB, 25 * GB, 8,
                 f"NVIDIA A100 80GB SXM datasheet, {NVIDIA}/a100/", ("NVIDIA A100",)),
    "h100": Chip(989 * T, 1979 * T, 494 * T, 80 * GB, 3350 * GB, 450 * GB, 50 * GB, 8,
                 f"NVIDIA H100 SXM datasheet, {NVIDIA}/h100/", ("NVIDIA H100",)),
    "h200": Chip(989 * T, 1979 * T, 494 * T, 141 * GB, 4800 * GB, 450 * GB, 50 * GB, 8,
                 f"NVIDIA H200 SXM datasheet, {NVIDIA}/h200/",
                 ("NVIDIA H200", "NVIDIA GH200 144G")),
    "b200": Chip(2250 * T, 4500 * T, 1125 * T, 180 * GB, 8000 * GB, 900 * GB, 50 * GB, 8,
                 f"an eighth of the NVIDIA DGX B200 datasheet, {NVIDIA}/dgx-b200/",
                 ("NVIDIA B200",)),
    "v4": Chip(275 * T, 0, 275 / 6 * T, 32 * GB, 1228 * GB, 100 * GB, 6.25 * GB, 4096,
               f"Cloud TPU v4, {GOOGLE}/v4", ("TPU v4",)),
    "v5e": Chip(197 * T, 0, 197 / 6 * T, 16 * GB, 819 * GB, 100 * GB, 3.125 * GB, 256,
                f"Cloud TPU v5e, {GOOGLE}/v5e", ("TPU v5 lite", "TPU v5e")),
    "v5p": Chip(459 * T, 0, 459 / 6 * T, 95 * GB, 2765 * GB, 200 * GB, 6.25 * GB, 8960,
                f"Cloud TPU v5p, {GOOGLE}/v5p", ("TPU v5p", "TPU v5")),
    "v6e": Chip(918 * T, 0, 918 / 6 * T, 32 * GB, 1600 * GB, 200 * GB, 12.5 * GB, 256,
                f"Cloud TPU v6e, {GOOGLE}/v6e", ("TPU v6 lite", "TPU v6e")),
    # Measured, not a datasheet: a 2048 x 2048 x 2048 product on two x86 cores under XLA, which is
    # no faster in bfloat16. Fake devices share the cores; the figure is for one device alone.
    "cpu": Chip(200 * GB, 0, 200 * GB, 8 * GB, 20 * GB, 5 * GB, 1 * GB, 1,
                "measured on two x86 cores with jax 0.10", ("cpu",)),
}


def chip(name: str) -> Chip:
    """Return a chip by its name.

    Raises:
        ConfigError: no such chip.
    """
    if name.lower() not in CHIPS:
        raise ConfigError(f'No chip "{name}"; {nearest(name.lower(), CHIPS)} (known: '
                          f"{', '.join(CHIPS)})")
    return CHIPS[name.lower()]


def chip_name(device_kind: str) -> str | None:
    """Return the name of the chip that jax calls `device_kind`; None for one not in the table."""
    matching = [(kind, name) for name, entry in CHIPS.items() for kind in entry.kinds
                if device_kind.startswith(kind)]
    return max(matching, key=lambda found: len(found[0]))[1] if matching else None
