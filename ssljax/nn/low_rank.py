"""Low-rank adapters: W x + B A x, with A and B of every row's own choice.

Hu et al. 2021, https://arxiv.org/abs/2106.09685. A module's weights stay as they are; what is added
to their products is in the collection ADAPTERS, under the names of the weights: {"a": [B, S, I, R],
"b": [B, S, R, O]} of B rows, I inputs, rank R and O outputs of each of S parts (three of w_qkv,
else one), the scale within b. A row's numbers come from its own A and B alone.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

ADAPTERS = "adapters"


def of_rows(stacks: Any, rows: jax.Array) -> Any:
    """Return each row's own of stacks [places, ...], by the places `rows` i32 [B]."""
    # Gathered rather than one product with all places and a mask: then neither the place of an
    # adapter nor what other places hold could ever change the order of a row's sums.
    return jax.tree.map(lambda stack: jnp.take(stack, rows, axis=0, mode="clip"), stacks)


def adapted(module: nn.Module, name: str, x: jax.Array, *parts: jax.Array) -> Sequence[jax.Array]:
    """Return products of x with the weight `name` of `module`, and its adapters' share added.

    Args:
        module: may have been given ADAPTERS; without any the products come back as they are.
        name: of the weight.
        x: [B, L, ...], what was multiplied.
        parts: [B, L, ...] of each part of the weight.
    """
    if not module.has_variable(ADAPTERS, name):
        return parts
    pair = module.get_variable(ADAPTERS, name)
    rows = x.reshape(*x.shape[:2], -1)
    low = jnp.einsum("BLI,BSIR->BSLR", rows, pair["a"])
    more = jnp.einsum("BSLR,BSRO->BSLO", low, pair["b"])
    return [part + more[:, i].reshape(part.shape) for i, part in enumerate(parts)]
