"""Matrices of a decoder as CPUs multiply them fastest: what is summed last in memory, [out, in].

XLA's CPU compiler packs one operand of a product in every call, and for the few rows of decoding
that should not be the weight. The exported programs say so (turned_product in nn/matmul.py of the
code that exports), and keep taking weights as they are stored, [in, out]. Here these are turned
once, as they are read; the transpose that undoes it before a program costs nothing, since the
compiler makes it part of the product. For one row alone it does not, so that one slot decodes with
weights as they are stored.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.serve.weights import Place

Function = Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]
MARK = "turned"            # a turned leaf w is {MARK: w}
# Name -> dimensions, and how many of the first are summed. Others are [out, in] as they are, or
# small, or of experts.
SUMMED = {"w_qkv": (4, 1),                                               # [D, 3, H, K]
          "w_out": (3, 2),                                               # [H, K, D]
          "w_gate": (2, 1), "w_up": (2, 1), "w_down": (2, 1)}            # [D, F], [F, D]


def turning(place: Place) -> Callable[[str, np.ndarray], Any]:
    """Return what places arrays as `place` does, and turns those that products are to read."""
    def placed(name: str, array: np.ndarray) -> Any:
        found = place(name, array)
        dimensions, n = SUMMED.get(name.rpartition("/")[2], (0, 0))
        if found.ndim != dimensions:
            return found
        return {MARK: jnp.transpose(found, (*range(n, found.ndim), *range(n)))}

    return placed


def of_turned(function: Function) -> Function:
    """Return `function` of weights of which some are turned."""
    def call(weights: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return function(as_stored(weights), inputs)

    return call


def as_stored(weights: Any) -> Any:
    """Return weights, none of them turned; those that were not are the same arrays."""
    return jax.tree_util.tree_map_with_path(turned_back, weights, is_leaf=is_turned)


def is_turned(node: Any) -> bool:
    """Say whether a node of the weights is a turned leaf."""
    return isinstance(node, Mapping) and node.keys() == {MARK}


def turned_back(path: tuple[Any, ...], leaf: Any) -> jax.Array:
    """Return a leaf in the shape that it is stored in."""
    if not is_turned(leaf):
        return leaf
    (_, n), w = SUMMED[path[-1].key], leaf[MARK]
    out, summed = w.shape[:-n], w.shape[-n:]
    # As one of two matrices: of more axes the compiler would make a copy.
    return w.reshape(-1, int(np.prod(summed))).T.reshape(*summed, *out)
