"""MaskFeat: a mask token stands for every hidden patch; its oriented gradients are predicted.

Wei et al. 2022, https://arxiv.org/abs/2112.09133. The target is no pixel and no learned feature but
HOG (families.hog): 9 orientations of each channel in cells of 8 by 8 pixels, those of a patch side
by side, 108 values of a patch of 16 pixels in colour. Reads image f32 [B, H, W, C] and hidden
bool [B, N]; the paper hides 40 % in blocks. Evaluation uses the encoder on whole images.
"""

import jax

from ssljax.core.errors import ConfigError
from ssljax.core.types import Model, Objective
from ssljax.families.hog import patch_histograms
from ssljax.families.masked import token_prediction

TINY = {"patch_size": 2, "cell_size": 2}


def squared_error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Return (x - y)**2 of every value, equation 1."""
    return (predictions - targets) ** 2


def make(model: Model, *, patch_size: int, cell_size: int = 8) -> Objective:
    """Return MaskFeat around an encoder with a mask token.

    Args:
        model: reads image and hidden, returns patches [B, N, D] and pooled.
        patch_size: side of a patch in pixels, the network's.
        cell_size: side of a histogram's cell in pixels; divides patch_size.

    Raises:
        ConfigError: cells do not tile a patch.
    """
    if cell_size < 1 or patch_size % cell_size:
        raise ConfigError(f"maskfeat cell_size {cell_size} does not divide patch_size "
                          f"{patch_size}; use {patch_size} or a divisor of it.")

    def targets(image: jax.Array) -> jax.Array:
        return patch_histograms(image, patch_size=patch_size, cell_size=cell_size)

    return token_prediction(model, method="maskfeat", patch_size=patch_size, pixels=False,
                            targets=targets, error=squared_error)
