"""The layouts of all weights: nn's shared table and the PARTITION of every plug-in, merged."""

import importlib
import pkgutil

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import Axes
from ssljax.nn.partition import PARTITION


def partition() -> dict[str, tuple[Axes, ...]]:
    """Return weight name -> mesh axes of its last dimensions.

    Raises:
        ConfigError: two files lay one name out differently.
    """
    merged = dict(PARTITION)
    for package in ("ssljax.models", "ssljax.objectives"):
        home = importlib.import_module(package)
        for info in pkgutil.iter_modules(home.__path__, f"{package}."):
            own = getattr(importlib.import_module(info.name), "PARTITION", {})
            for name, axes in own.items():
                if merged.setdefault(name, axes) != axes:
                    raise ConfigError(f'{info.name} lays weight "{name}" out as {axes}; another '
                                      f"file as {merged[name]}. Rename one of the two.")
    return merged
