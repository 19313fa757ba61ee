"""Small images as sequences of palette colours, to be predicted one after the other.

Chen et al. 2020, "Generative pretraining from pixels",
https://cdn.openai.com/papers/Generative_Pretraining_from_Pixels_V2.pdf. Reads records {"image",
"id"}; the device part adds tokens, targets and positions int32 [L], L = size**2 pixels in raster
order. The first token is the start, whose number is that of the colours; each target is the colour
of its own pixel, and the token before it is what the network has seen last.
"""

import jax
import jax.numpy as jnp

from ssljax.augment.crop import Method, crop_resize, random_box
from ssljax.augment.flip import random_flip
from ssljax.augment.pixels import to_unit
from ssljax.core.types import Batch, Example, Key, Pretext
from ssljax.nn.palette import make_palette, to_colours, to_tokens
from ssljax.pretext.image import image_format

TINY = {"size": 8, "channels": 1, "levels": 4}
CENTRE = (0.5,)        # images in evaluation are in [-1, 1]; the network quantises them itself


def make(*, size: int, source_size: int = 0, channels: int = 3, levels: int = 8,
         palette: str = "", min_area: float = 1.0, max_area: float = 1.0, method: Method = "cubic",
         flip_probability: float = 0.5) -> Pretext:
    """Return the pretext.

    Args:
        size: height and width in pixels; a row has size**2 tokens.
        source_size: height and width of stored images; `size` unless told.
        channels: 1 or 3.
        levels: of each channel, in a palette of all their combinations.
        palette: JSON file of a fitted palette instead; see tools/fit_palette.py.
        min_area: smallest fraction of the image that a square crop covers.
        max_area: largest.
        method: interpolation of crops.
        flip_probability: of mirroring; 0 where left and right mean something.
    """
    images = image_format(source_size, size, channels, CENTRE, CENTRE)
    colours = make_palette(levels, palette, channels)
    start = len(colours.colours)

    def views(key: Key, example: Example) -> Example:
        k_crop, k_flip = jax.random.split(key)
        image = to_unit(example["image"])
        box = random_box(k_crop, *image.shape[:2], min_area=min_area, max_area=max_area,
                         min_aspect=1.0, max_aspect=1.0)
        image = random_flip(k_flip, crop_resize(image, box, size=size, method=method),
                            probability=flip_probability)
        targets = to_tokens(image, colours).reshape(-1)
        return {"tokens": jnp.concatenate([jnp.array([start], jnp.int32), targets[:-1]]),
                "targets": targets, "positions": jnp.arange(size**2, dtype=jnp.int32)}

    def render(batch: Batch) -> jax.Array:
        targets = batch["targets"]
        return to_colours(targets, colours).reshape(*targets.shape[:-1], size, size, channels)

    return Pretext(images.example, images.plain, views, images.spec(), render)
