"""What it takes to lower an artefact's programs: a network, the shapes of its weights, a few facts.

The same for a first export and for one of a jax that cannot read the programs any more: then the
facts come from the manifest, the shapes from the files of weights, the network from config.json.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import safe_open

from ssljax.core.tree import unflatten
from ssljax.core.types import Model, PyTree
from ssljax.export.adapters import room_in
from ssljax.export.stablehlo import Program, decoder_programs, encoder_programs

# Of the types that `ssljax export` writes.
DTYPES = {"F32": np.float32, "I8": np.int8, "U8": np.uint8, "BF16": "bfloat16", "F16": np.float16}


def lower(model: Model, weights: PyTree, about: Mapping[str, Any]) -> dict[str, Program]:
    """Return the programs of an artefact, lowered by the jax that runs here.

    Args:
        model: the network.
        weights: as they are stored; arrays or shapes.
        about: the manifest's "kind" and, of encoders, "image"; of decoders with room for them,
            "adapters".
    """
    if about["kind"] == "decoder":
        return decoder_programs(model, weights, adapters=room_in(about))
    height, width, channels = about["image"]["shape"]
    return encoder_programs(model, weights, image=(height, width, channels))


def stored_shapes(files: list[Path]) -> PyTree:
    """Return the weights in some safetensors files as shapes; reads their headers only."""
    leaves = {}
    for file in files:
        with safe_open(file, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118  not a dict: it has no other iterator
                part = opened.get_slice(name)
                leaves[name] = jax.ShapeDtypeStruct(tuple(part.get_shape()),
                                                    DTYPES[part.get_dtype()])
    return unflatten(leaves)
