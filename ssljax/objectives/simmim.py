"""SimMIM: a mask token stands for every hidden patch, and a linear head predicts its pixels.

Xie et al. 2022, https://arxiv.org/abs/2111.09886. Unlike MAE the encoder sees all positions, so
networks that need a whole grid can be trained too. Reads image f32 [B, H, W, C] and hidden
bool [B, N]; the paper hides 60 % in blocks of 32 by 32 pixels. Evaluation uses the encoder on whole
images. The metric masked_error is the squared error that other methods report.
"""

import jax
import jax.numpy as jnp

from ssljax.core.types import Model, Objective
from ssljax.families.masked import Targets, pixel_targets, token_prediction

TINY = {"patch_size": 2}


def absolute_error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Return |x - y| of every value, section 3.3 and Table 5: l1 was best."""
    return jnp.abs(predictions - targets)


def make(model: Model, *, patch_size: int, targets: Targets = "pixels") -> Objective:
    """Return SimMIM around an encoder with a mask token.

    Args:
        model: reads image and hidden, returns patches [B, N, D] and pooled.
        patch_size: side of a patch in pixels, the network's.
        targets: pixels as the pretext standardised them, or standardised within each patch too.
    """
    return token_prediction(
        model, method="simmim", patch_size=patch_size, pixels=targets == "pixels",
        targets=lambda image: pixel_targets(image, patch_size, targets), error=absolute_error)
