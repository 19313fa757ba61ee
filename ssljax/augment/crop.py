"""Random resized crop, Szegedy et al. 2015, https://arxiv.org/abs/1409.4842 (section 6).

A box of random area and aspect, resized to a fixed shape. In closed form, so that shapes stay
static: the sides of a box that does not fit are clipped, where torchvision draws up to ten times
and then takes the centre. Resizing is antialiased and reads across the edges of the box, as
Pillow's resize(box=...) does.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from ssljax.core.types import Key

Method = Literal["bilinear", "cubic"]


def crop_resize(image: jax.Array, box: jax.Array, *, size: int, method: Method = "bilinear",
                ) -> jax.Array:
    """Resize a box of one image to [size, size, C].

    Args:
        image: float32 [H, W, C].
        box: float32 [4]: top, left, height and width in pixels; need not be whole.
        size: height and width of the result.
        method: interpolation.
    """
    corner, sides = box[:2], box[2:]
    scale = size / sides
    shape = (size, size, image.shape[-1])
    return jax.image.scale_and_translate(image, shape, (0, 1), scale, -corner * scale, method)


def random_box(key: Key, height: int, width: int, *, min_area: float, max_area: float = 1.0,
               min_aspect: float = 3 / 4, max_aspect: float = 4 / 3) -> jax.Array:
    """Draw a box within an image, float32 [4]: top, left, height and width.

    Args:
        key: of this draw.
        height: of the image, in pixels.
        width: of the image, in pixels.
        min_area: smallest fraction of the image.
        max_area: largest fraction of the image.
        min_aspect: smallest width over height; logarithms are uniform.
        max_aspect: largest width over height.
    """
    k_area, k_aspect, k_corner = jax.random.split(key, 3)
    area = jax.random.uniform(k_area, (), minval=min_area, maxval=max_area) * height * width
    aspect = jnp.exp(jax.random.uniform(
        k_aspect, (), minval=jnp.log(min_aspect), maxval=jnp.log(max_aspect)))
    whole = jnp.array([height, width], jnp.float32)
    sides = jnp.minimum(jnp.sqrt(jnp.stack([area / aspect, area * aspect])), whole)
    corner = jax.random.uniform(k_corner, (2,)) * (whole - sides)
    return jnp.concatenate([corner, sides])


def centre_box(height: int, width: int) -> jax.Array:
    """Return the largest centred square of an image, float32 [4]."""
    side = min(height, width)
    return jnp.array([(height - side) / 2, (width - side) / 2, side, side], jnp.float32)


def random_crop(key: Key, image: jax.Array, *, size: int, areas: tuple[float, float],
                method: Method = "bilinear", cropped: bool = False) -> jax.Array:
    """Return a random box of one image [H, W, C] in [0, 1], resized to [size, size, C].

    Args:
        key: of this draw.
        image: float32.
        size: height and width of the result.
        areas: smallest and largest fraction of the image that the box covers.
        method: interpolation; cubic overshoots, so the result is clipped to [0, 1].
        cropped: whether the image is a random crop already, made while it was decoded.
    """
    if cropped:
        return whole(image, size=size, method=method)
    box = random_box(key, *image.shape[:2], min_area=areas[0], max_area=areas[1])
    return crop_resize(image, box, size=size, method=method).clip(0, 1)


def whole(image: jax.Array, *, size: int, method: Method = "bilinear") -> jax.Array:
    """Return all of one square image [H, H, C] in [0, 1] at [size, size, C]."""
    if image.shape[0] == size:
        return image
    return crop_resize(image, centre_box(*image.shape[:2]), size=size, method=method).clip(0, 1)
