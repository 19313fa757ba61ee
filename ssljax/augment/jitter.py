"""Colour jitter: brightness, contrast, saturation and hue, by random amounts in random order.

As in SimCLR, https://arxiv.org/abs/2002.05709 (appendix A), with torchvision's meaning of the
strengths: factors are uniform in [max(0, 1 - s), 1 + s], the hue moves by a fraction of the circle
in [-s, s]. Images are float32 in [0, 1] and clipped to it after every operation. Images of one
channel have brightness and contrast only.
"""

import jax
import jax.numpy as jnp

from ssljax.augment.grayscale import luma
from ssljax.core.types import Key

HUE = 3                      # brightness, contrast, saturation, hue


def blend(image: jax.Array, other: jax.Array, factor: jax.Array) -> jax.Array:
    """Return other + factor * (image - other), clipped to [0, 1]."""
    return jnp.clip(other + factor * (image - other), 0, 1)


def hue(image: jax.Array, shift: jax.Array) -> jax.Array:
    """Move the hue by a fraction of the circle; brightest and darkest channel values stay.

    In closed form from the hue angle of HSV, without the six cases of the textbook: a channel at
    distance d sixths of the circle from its own hue has value - chroma * clip(d - 1, 0, 1).
    """
    high, low = jnp.max(image, axis=-1), jnp.min(image, axis=-1)
    chroma = high - low
    red, green, blue = (image[..., c] for c in range(3))
    safe = jnp.where(chroma > 0, chroma, 1)
    # Channels are compared, not each with `high`: a compiler may compute that one again, rounded
    # otherwise, and equal to none. Where two are nearly equal the cases agree.
    sixths = jnp.where((red >= green) & (red >= blue), (green - blue) / safe,
                       jnp.where(green >= blue, 2 + (blue - red) / safe, 4 + (red - green) / safe))
    sixths = sixths + 6 * shift
    away = jnp.abs((sixths[..., None] - jnp.array([0.0, 2.0, 4.0]) + 3) % 6 - 3)
    moved = high[..., None] - chroma[..., None] * jnp.clip(away - 1, 0, 1)
    return jnp.where(chroma[..., None] > 0, moved, image)


def apply_in_order(image: jax.Array, order: jax.Array, amounts: jax.Array) -> jax.Array:
    """Apply the operations in `order` i32 [2 or 4], each with its own of `amounts` f32 [2 or 4].

    Every example has an order of its own, so under vmap a switch is all operations and a choice: 16
    passes, four of them of the costly hue. All but the hue are blends, and a blend with factor 1
    changes nothing: three blends that may each be switched off come before the one hue and three
    after it. On one CPU core 256 images of 32 pixels take 47 ms, 116 as four passes that blend and
    turn the hue, 145 as a switch; 16 of 224 pixels take 121, 379 and 473.
    """
    if order.shape[0] == 2:
        for step in range(2):
            image = blend_with(image, order[step], amounts[order[step]])
        return image
    hue_at = jnp.argmax(order == HUE)
    for step in range(3):
        image = blend_or_leave(image, order[step], amounts, step < hue_at)
    image = hue(image, amounts[HUE])
    for step in range(1, 4):
        image = blend_or_leave(image, order[step], amounts, step > hue_at)
    return image


def blend_with(image: jax.Array, operation: jax.Array, factor: jax.Array) -> jax.Array:
    """Apply brightness (0), contrast (1) or saturation (2), which i32 [] says."""
    gray = luma(image)
    other = jnp.where(operation == 1, jnp.mean(gray), jnp.where(operation == 2, gray, 0))
    return blend(image, other, factor)


def blend_or_leave(image: jax.Array, operation: jax.Array, amounts: jax.Array,
                   active: jax.Array) -> jax.Array:
    """Apply a blend, or change nothing: 0 + 1 * (image - 0) is the image to the bit."""
    return blend_with(image, jnp.where(active, operation, 0),
                      jnp.where(active, amounts[operation], 1))


def random_jitter(key: Key, image: jax.Array, *, strengths: tuple[float, float, float, float],
                  probability: float = 0.8) -> jax.Array:
    """Jitter one image with this probability.

    Args:
        key: of this draw.
        image: float32 [H, W, C] in [0, 1], C of 1 or 3.
        strengths: of brightness, contrast, saturation and hue.
        probability: of any change at all.
    """
    k_apply, k_order, k_amounts = jax.random.split(key, 3)
    count = 2 if image.shape[-1] == 1 else 4
    spread = jnp.array(strengths[:count])
    centre = jnp.array([1.0, 1.0, 1.0, 0.0])[:count]
    lowest = jnp.array([0.0, 0.0, 0.0, -jnp.inf])[:count]
    low, high = jnp.maximum(centre - spread, lowest), centre + spread
    amounts = low + jax.random.uniform(k_amounts, (count,)) * (high - low)
    order = jax.random.permutation(k_order, count)
    changed = apply_in_order(image, order, amounts)
    return jnp.where(jax.random.bernoulli(k_apply, probability), changed, image)
