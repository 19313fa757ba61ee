"""Hold every function of an artefact against the answers its writer got.

Reads golden.safetensors (core/golden.py says what is in it) and calls each function once, at the
small sizes the manifest gives; whatever jax has against a program surfaces here, at the start, and
not at a client's first request.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from ssljax.core.errors import ArtefactError
from ssljax.core.golden import fill, summary
from ssljax.core.tree import named_leaves, unflatten

# Largest difference from a golden answer, as a fraction of the largest golden value (at least 1).
# A CPU only reorders float32 sums between versions, 1e-6 in practice. Accelerators multiply
# float32 matrices with 10 (TF32) or 8 (TPU) bits of mantissa unless told otherwise; errors of
# that size add up over layers. Wrong weights or a wrong program differ by the order of 1.
TOLERANCE = {"cpu": 1e-4, "cuda": 2e-2, "tpu": 5e-2}

Function = Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]
Golden = Mapping[str, np.ndarray]


def read_golden(file: Path, data: bytes) -> Golden:
    """Return the arrays of a golden file.

    Raises:
        ArtefactError: it is no safetensors file.
    """
    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as err:
        raise ArtefactError(f"{file} is no safetensors file ({err}); export the run "
                            "again.") from err


def arguments_of(name: str, spec: Mapping[str, Any], golden: Golden) -> dict[str, np.ndarray]:
    """Return the arguments of a function's golden call, by slash-separated name.

    Raises:
        KeyError, TypeError, ValueError: the manifest or the file lacks one.
    """
    sizes, filled = spec["golden"]["sizes"], spec["golden"]["filled"]
    given = {}
    for key, about in spec["inputs"].items():
        if key in filled:
            shape = [n if isinstance(n, int) else sizes[n] for n in about["shape"]]
            given[key] = fill(shape).astype(about["dtype"])
        else:
            given[key] = golden[f"{name}/inputs/{key}"]
    return given


def check_function(name: str, function: Function, weights: Any, given: Mapping[str, np.ndarray],
                   golden: Golden, *, platform: str) -> None:
    """Call a function and compare its answers.

    Args:
        name: of the function.
        function: what jax made of its program.
        weights: its first argument.
        given: its others.
        golden: of all functions.
        platform: as jax.export calls it.

    Raises:
        ArtefactError: they differ by more than TOLERANCE of this platform, or none was kept.
    """
    answers = jax.device_get(jax.jit(function)(weights, unflatten(dict(given))))
    limit = TOLERANCE.get(platform, TOLERANCE["cpu"])
    here = {f"{name}/outputs/{key}/{part}": value for key, leaf in named_leaves(answers).items()
            if np.issubdtype(leaf.dtype, np.floating) for part, value in summary(leaf).items()}
    kept = {key for key in golden if key.startswith(f"{name}/outputs/")}
    if kept != here.keys() or not kept:
        raise ArtefactError(f"{name}.jaxexp returns {sorted(here)}; the golden answers are "
                            f"{sorted(kept)}: they do not belong together. Export the run again.")
    for key, value in here.items():
        error = difference(value, golden[key])
        if not error <= limit:                       # a nan is no agreement
            raise ArtefactError(f"{key} computed here differs by {error:.1e} of its scale from "
                                f"the golden answer; at most {limit:.0e} is rounding on "
                                f"{platform}. The programs and weights do not belong together, "
                                "or this jax computes wrongly: export the run again.")


def difference(value: np.ndarray, golden: np.ndarray) -> float:
    """Return the largest difference as a fraction of the largest golden value, at least 1."""
    if value.shape != golden.shape:
        return float("inf")
    if not value.size:
        return 0.0
    return float(np.abs(value - golden).max()) / max(1.0, float(np.abs(golden).max()))
