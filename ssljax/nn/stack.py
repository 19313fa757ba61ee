"""Weights of a transformer's layers: one stack of all, as they are trained, or each layer's own.

For inference the latter: a product with a part of a stack copies that part first, as much memory
traffic again as a step of decoding has.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def unstacked(params: Any) -> Any:
    """Return params, nested dicts, with the blocks of each transformer as {"0": ..., "1": ...}."""
    def apart(name: str, node: Any) -> Any:
        if not isinstance(node, Mapping):
            return node
        if name != "blocks" or "0" in node:
            return {key: apart(key, child) for key, child in node.items()}
        depth = jax.tree.leaves(node)[0].shape[0]
        return {str(i): jax.tree.map(lambda leaf, i=i: leaf[i], node) for i in range(depth)}

    return apart("", params)


def stacked(params: Any) -> Any:
    """Return host params with each transformer's blocks as one stack: the inverse of unstacked."""
    if not isinstance(params, Mapping):
        return params
    if "0" in params:
        layers = [params[str(i)] for i in range(len(params))]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *layers)
    return {name: stacked(child) for name, child in params.items()}
