"""The stated rule of how optimizer state is laid out on a mesh, from the weights it belongs to.

A leaf belongs to the weight whose whole path ends its own.

* The same shape (moments, averages, z): along the weight's mesh axes.
* Adafactor's v_row and v_col: the weight's axes without the dimension that was averaged away.
* SOAP's L, R and their bases [..., m, m]: the axes of the separate matrices in front, then the axis
  of the matrix's side (the first of its merged dimensions), and nothing on the last.
* What has fewer than two dimensions and belongs to no weight (counts, norms): whole everywhere.

Anything else has no layout, and is an error where the state is made.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ssljax.core.sharding import Axes
from ssljax.optim.matrices import HEADS, PLAIN

SIDES = {"left": 0, "left_basis": 0, "right": 1, "right_basis": 1}      # fields of SoapState
AVERAGED = {"v_row": -1, "v_col": -2}           # fields of FactoredState -> rank of the dimension


class Weight(NamedTuple):
    """The shape of a weight, and the mesh axes of all its dimensions."""

    shape: tuple[int, ...]
    axes: tuple[Axes, ...]


def axes_of(path: str, shape: tuple[int, ...],
            weights: Mapping[str, Weight]) -> tuple[Axes, ...] | None:
    """Return the mesh axes of a leaf of the optimizer's state, or None if the rule has none.

    Args:
        path: slash-separated path of the leaf.
        shape: of the leaf.
        weights: slash-separated path -> weight.
    """
    owners = [name for name in weights if path == name or path.endswith(f"/{name}")]
    if not owners:
        return None
    owner = max(owners, key=len)
    weight, fields = weights[owner], path.removesuffix(owner).strip("/").split("/")
    field = fields[-1]
    if field in SIDES:
        matrix = HEADS.get(owner.rpartition("/")[2], PLAIN)
        used = {len(weight.shape) + a for a in (*matrix.rows, *matrix.columns)}
        front = tuple(axis for i, axis in enumerate(weight.axes) if i not in used)
        return (*front, weight.axes[matrix[SIDES[field]][0]], None)
    if field in AVERAGED and shape != (1,):
        gone = np.argsort(weight.shape)[AVERAGED[field]]      # as Optax picks them, ties too
        return tuple(axis for i, axis in enumerate(weight.axes) if i != gone)
    return weight.axes if shape == weight.shape else None
