"""Muon for the matrices of the blocks, AdamW for everything else.

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; the update's scale as in Liu et al.
2025, https://arxiv.org/abs/2502.16982 (equation 4), so that AdamW's learning rates carry over.
"""

import re
from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers, muon

from ssljax.core.sharding import automatic
from ssljax.core.tree import leaf_name
from ssljax.core.types import PyTree
from ssljax.optim.matrices import HIDDEN, matrix_of

TINY = {"lr": 1e-2}
RMS = 0.2       # of an update's entries, as AdamW's tends to be


def make(schedule: optax.Schedule, *, lr: float, momentum: float = 0.95, b1: float = 0.9,
         b2: float = 0.95, weight_decay: float = 0.0, matrices: str = HIDDEN,
         ) -> optax.GradientTransformation:
    """Return the rule.

    Args:
        schedule: step -> fraction of lr.
        lr: peak learning rate, of both parts.
        momentum: decay of the gradient's mean in Muon.
        b1: decay of the gradient's mean in AdamW.
        b2: decay of the gradient's square in AdamW.
        weight_decay: decoupled, of the matrices.
        matrices: weights whose name matches this whole regular expression are Muon's.
    """
    def axes(path: tuple[Any, ...], leaf: jax.Array) -> MuonDimensionNumbers | None:
        if re.fullmatch(matrices, leaf_name(path)) is None:
            return None
        rows, columns = matrix_of(path)
        return MuonDimensionNumbers(tuple(leaf.ndim + a for a in rows),
                                    tuple(leaf.ndim + a for a in columns))

    def dimensions(params: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(axes, params)

    # Its products of sharded momentum are laid out by the compiler, whatever the mesh.
    orthogonal = muon(
        lambda step: lr * schedule(step), beta=momentum, weight_decay=weight_decay, adam_b1=b1,
        adam_b2=b2, consistent_rms=RMS, muon_weight_dimension_numbers=dimensions)
    return optax.GradientTransformation(orthogonal.init, automatic(orthogonal.update))
