"""A palette: the colours that stand for pixels where an image is a sequence of tokens.

Chen et al. 2020, "Generative pretraining from pixels" (section 3.3),
https://cdn.openai.com/papers/Generative_Pretraining_from_Pixels_V2.pdf: 512 colours by k-means, a
third of the tokens that three channels would need. A uniform palette needs no data; one that was
fitted is closer to the images for the same number of colours (tools/fit_palette.py).
"""

import json
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.core.errors import ConfigError


class Palette(NamedTuple):
    """Colours by token.

    colours: float32 [P, C] in [0, 1]
    levels:  of each channel where they are all combinations of equally spaced ones; 0 where not
    """

    colours: np.ndarray
    levels: int


def make_palette(levels: int, path: str, channels: int) -> Palette:
    """Return the palette of a file, or the uniform one where `path` is empty.

    Args:
        levels: equally spaced values of each channel, from 0 to 1; levels**channels colours.
        path: JSON file {"colours": [[red, green, blue], ...]} of values in [0, 1].
        channels: C.

    Raises:
        ConfigError: too few levels, or the file is missing or has something else in it.
    """
    if path:
        return Palette(read_colours(path, channels), 0)
    if levels < 2:
        raise ConfigError(f"palette levels {levels}: a channel needs at least two.")
    axes = np.meshgrid(*[np.linspace(0, 1, levels, dtype=np.float32)] * channels, indexing="ij")
    return Palette(np.stack(axes, axis=-1).reshape(-1, channels), levels)


def read_colours(path: str, channels: int) -> np.ndarray:
    """Return the colours of a file, float32 [P, C].

    Raises:
        ConfigError: as `make_palette`.
    """
    try:
        colours = np.asarray(json.loads(pathlib.Path(path).read_text("utf-8"))["colours"],
                             np.float32)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ConfigError(f"palette {path} cannot be read: {err}. Write one with "
                          "`python tools/fit_palette.py`, or leave palette empty for a uniform one."
                          ) from err
    if colours.ndim != 2 or colours.shape[1] != channels or len(colours) < 2 or (
            colours.min() < 0 or colours.max() > 1):
        raise ConfigError(f"palette {path} has colours of shape {colours.shape}; expected two or "
                          f"more of {channels} values from 0 to 1.")
    return colours


def to_tokens(image: jax.Array, palette: Palette) -> jax.Array:
    """Return the nearest colour of every pixel of image [..., H, W, C] in [0, 1], i32 [..., H, W].

    Without a table of all distances where channels can be rounded one by one.
    """
    if palette.levels:
        steps = jnp.round(image.clip(0, 1) * (palette.levels - 1)).astype(jnp.int32)
        weights = palette.levels ** np.arange(image.shape[-1])[::-1]
        return jnp.sum(steps * weights, axis=-1, dtype=jnp.int32)
    colours = jnp.asarray(palette.colours)
    # |x - c|**2 without x**2, which is the same for all colours.
    score = jnp.sum(colours**2, axis=-1) - 2 * jnp.einsum("...C,PC->...P", image, colours)
    return jnp.argmin(score, axis=-1).astype(jnp.int32)


def to_colours(tokens: jax.Array, palette: Palette) -> jax.Array:
    """Return the colours [..., C] of tokens i32 [...], float32 in [0, 1]."""
    return jnp.asarray(palette.colours)[tokens]
