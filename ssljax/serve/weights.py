"""Weights from their files to the device, one array at a time: the host never holds them all.

Reads safetensors, which are a JSON header and raw numbers: nothing in them can run. Files are
mapped into memory, so that what is read goes from the page cache straight to the device.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open

from ssljax.core.errors import ArtefactError
from ssljax.core.tree import unflatten
from ssljax.serve.manifest import EXPORT_AGAIN, listed

Place = Callable[[str, np.ndarray], jax.Array]


def on_default_device(name: str, array: np.ndarray) -> jax.Array:
    """Place an array where jax puts things unless told."""
    del name
    return jax.device_put(array)


def load_weights(path: Path, manifest: Mapping[str, Any], place: Place = on_default_device) -> Any:
    """Return the arrays of an artefact as nested dicts.

    Args:
        path: the artefact.
        manifest: of it; its files have been checked.
        place: (slash-separated name, array on the host) -> the array on its devices.

    Raises:
        ArtefactError: a file is no safetensors, or two files hold one array.
    """
    leaves: dict[str, jax.Array] = {}
    names = manifest["weights"].get("files")
    if not isinstance(names, list) or not names:
        raise ArtefactError(f"{path}/manifest.json names no files of weights; {EXPORT_AGAIN}")
    for file in [listed(path, manifest, name, ".safetensors") for name in names]:
        try:
            with safe_open(file, framework="numpy") as opened:
                for name in opened.keys():  # noqa: SIM118  not a dict: it has no other iterator
                    if name in leaves:
                        raise ArtefactError(f"{file} holds {name} a second time; {EXPORT_AGAIN}")
                    leaves[name] = place(name, opened.get_tensor(name))
        except (OSError, SafetensorError, TypeError, AttributeError) as err:
            raise ArtefactError(f"{file} cannot be read ({err}); {EXPORT_AGAIN}") from err
    try:
        return unflatten(leaves)
    except (TypeError, AttributeError) as err:        # one name is the folder of another
        raise ArtefactError(f"{path}: the names of its weights contradict each other "
                            f"({err}); {EXPORT_AGAIN}") from err
