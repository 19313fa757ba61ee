"""A linear map with bias as two named weights of the module that calls it."""

import flax.linen as nn
import jax

from ssljax.core.sharding import BATCH, einsum

Initializer = nn.initializers.Initializer


def linear(module: nn.Module, name: str, x: jax.Array, features: int,
           start: Initializer | None = None) -> jax.Array:
    """Map x [B, L, D] to [B, L, features] by weights w_{name} and b_{name} of `module`.

    Args:
        module: declares the weights; its file lays them out.
        name: of the weights, after w_ and b_.
        x: [B, L, D], of any floating dtype; the weights' is computed in.
        features: width of the result.
        start: how the matrix starts; Xavier's uniform unless told, as in MAE and I-JEPA.
    """
    start = start or nn.initializers.xavier_uniform()
    w = module.param(f"w_{name}", start, (x.shape[-1], features))
    b = module.param(f"b_{name}", nn.initializers.zeros, (features,))
    return einsum("BLD,DE->BLE", x.astype(w.dtype), w, out=(BATCH, None, None)) + b
